"""The user's cache folder, and files that appear there whole or not at all."""

import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["cache_folder", "replacing", "temporary_in"]


def cache_folder() -> Path:
    """Where converted data is kept: `$WEIGH_CACHE`, else `$XDG_CACHE_HOME/weigh`, else the platform's cache folder.

    The folder need not exist yet. Everything in it can be deleted at any time: it is made again when needed.
    """
    if own := os.environ.get("WEIGH_CACHE"):
        return Path(own).expanduser()
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg).expanduser() / "weigh"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "weigh"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "weigh" / "Cache"
    return Path.home() / ".cache" / "weigh"


@contextmanager
def temporary_in(folder: Path) -> Iterator[Path]:
    """A fresh path in `folder` (made if need be); what still lies there when the block ends is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{uuid.uuid4().hex}.tmp"
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` that takes its place when the block ends well, and is removed otherwise.

    Readers see the old file or the new one, never half of one, also when several processes write the same target.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "answer.txt"
    >>> with replacing(target) as temporary:
    ...     _ = temporary.write_text("42")
    >>> target.read_text()
    '42'
    """
    with temporary_in(target.parent) as temporary:
        yield temporary
        os.replace(temporary, target)
