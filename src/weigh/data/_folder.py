"""A folder that appears in the cache whole or not at all, and one file of a package that is never imported."""

from __future__ import annotations

import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

__all__ = ["package_file", "whole_folder"]


def whole_folder(target: Path, make: Callable[[Path], None]) -> Path:
    """`target`, which `make` fills once: it is given an empty folder beside it that is renamed when all is written.

    Readers see the whole folder or none. Of several processes at once the first makes it and the others wait.
    """
    if target.is_dir():
        return target
    temporary = target.parent / f".{uuid.uuid4().hex}.tmp"
    with _alone(target.parent / f".{target.name}.lock"):
        if target.is_dir():
            return target
        try:
            temporary.mkdir()
            make(temporary)
            _rename(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait for the lock and hold it; it is let go when the process dies. Windows has none and makes a folder twice."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with lock.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _rename(temporary: Path, target: Path) -> None:
    try:
        temporary.rename(target)
    except OSError:
        if not target.is_dir():  # otherwise another process was first
            raise


def package_file(package: str, file: str, asked: str, install: str) -> Path:
    """The path of a package's file or folder. The package is looked up and not imported.

    Args:
        package: the name that it would be imported by.
        file: below the package's folder.
        asked: what the user asked for, as it stands in the error.
        install: what to type when it is missing.

    Raises:
        ModuleNotFoundError: the package, or the file in it, is missing; the text says what to type.
    """
    spec = find_spec(package)
    path = Path(spec.origin).parent / file if spec and spec.origin else None
    if path is None or not path.exists():
        missing = f"the package {package}" if path is None else f"{file} in the package {package}"
        raise ModuleNotFoundError(f"You asked for {asked}, but {missing} is missing: type  {install}", name=package)
    return path
