"""Folders of fits that several processes share: one writes at a time, and the oldest go when there are too many."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until nobody else is in the folder (made if need be), and keep others out; a process that dies lets go.

    Windows has no such lock: there two processes that start together both fit, and the last one's replay stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with (folder / "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def keep_newest(parent: Path, megabytes: float) -> None:
    """Remove folders, those used longest ago first, until the rest take no more than so many MB; the newest stays."""
    folders = sorted((each for each in parent.iterdir() if each.is_dir()), key=_used, reverse=True)
    left = megabytes * 1e6
    for place, folder in enumerate(folders):
        left -= sum(map(_size, folder.iterdir()))
        if left < 0 and place and not _busy(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _size(file: Path) -> int:
    """Bytes of a file; none of one that has just gone."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _used(folder: Path) -> float:
    return folder.stat().st_mtime


def _busy(folder: Path) -> bool:
    """Whether somebody is fitting there now."""
    if sys.platform == "win32":
        return True
    import fcntl

    with (folder / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
