"""The user's cache folder, and files that appear there whole or not at all."""

import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = ["cache_folder", "free_bytes", "kept_json", "replacing", "sweep", "temporary_in"]

DAY = 86_400


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


def free_bytes(path: Path) -> int:
    """Room on the disk of a path, which need not exist yet."""
    there = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
    return shutil.disk_usage(there).free


def kept_json(path: Path) -> dict[str, Any] | None:
    """What a file of the cache holds; None where there is none, or one that a crash left empty or cut."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def sweep(folder: Path, pattern: str) -> None:
    """Remove what runs that were killed left there, under such names, a day ago or longer."""
    for old in folder.glob(pattern):
        with suppress(FileNotFoundError):  # it was another run's, which has put it in its place
            if time.time() - old.stat().st_mtime > DAY:
                shutil.rmtree(old, ignore_errors=True)


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
