"""What was answered, kept before it is sent: a file of JSON lines, and what people said of the answers later."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

ROTATE = 64_000_000
"""Bytes after which a process begins another file."""
MOST = 10_000_000_000
"""Bytes of a kind of log, beyond which the oldest files go."""


KINDS = ("predictions", "shadow", "feedback")


class PredictionLog:
    """A log that one process appends to.

    A line is in the system's hands when `write` returns, so that a process which is killed loses none that was
    answered. A disk that is full loses lines, never answers: `lost` counts them, and no half of a line stays.

    Args:
        folder: where logs are kept; each process has files of its own.
        kind: how its files are called.
        most: bytes of all files of the kind, beyond which the oldest go.
    """

    def __init__(self, folder: Path, kind: str = "predictions", most: int = MOST) -> None:
        self.folder, self.kind, self.most = folder, kind, most
        self.lost = 0
        self._file, self._size = -1, 0
        folder.mkdir(parents=True, exist_ok=True)
        self._open()

    def write(self, entry: Mapping[str, Any]) -> bool:
        """Append one line; False, and counted, where the system refuses."""
        return self._append(_line(entry), 1)

    def write_all(self, entries: Sequence[Mapping[str, Any]]) -> bool:
        """Append some lines, all or none."""
        return self._append(b"".join(map(_line, entries)), len(entries))

    def _append(self, lines: bytes, count: int) -> bool:
        try:
            written = os.write(self._file, lines)
        except OSError:
            self.lost += count
            return False
        if written < len(lines):
            os.ftruncate(self._file, self._size)
            self.lost += count
            return False
        self._size += written
        if self._size > min(ROTATE, self.most // 4):
            self._open()
        return True

    def _open(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        name = f"{self.kind}-{time.time_ns():020d}-{os.getpid()}.jsonl"
        self._file = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o600)
        self._size = 0
        self._prune(name)

    def _prune(self, own: str) -> None:
        """Remove the oldest files while there are too many bytes."""
        sizes = {path: path.stat().st_size for path in sorted(self.folder.glob(f"{self.kind}-*.jsonl"))}
        total = sum(sizes.values()) + min(ROTATE, self.most)
        for path, size in sizes.items():
            if total <= self.most or path.name == own:
                return
            path.unlink(missing_ok=True)
            total -= size

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _line(entry: Mapping[str, Any]) -> bytes:
    return orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY)


class Tail:
    """Reads what was appended to the logs of a folder, and of folders in it, since the last time.

    Attributes:
        broken: lines that were no entries.
        places: file, as it lies in the folder -> bytes that were read; give it to another `Tail` to go on from there.
    """

    def __init__(self, folder: Path, kind: str = "predictions", places: Mapping[str, int] | None = None) -> None:
        self.folder, self.kind = folder, kind
        self.places: dict[str, int] = dict(places or {})
        self.broken = 0

    def read(self) -> Iterator[dict[str, Any]]:
        """Entries that are whole, in the order of their files; the start of a line that is not ended waits."""
        for path in sorted(self.folder.rglob(f"{self.kind}-*.jsonl")):
            name = path.relative_to(self.folder).as_posix()
            start = self.places.get(name, 0)
            if path.stat().st_size <= start:
                continue
            with path.open("rb") as file:
                file.seek(start)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    start += len(line)
                    if (entry := _entry(line)) is None:
                        self.broken += 1
                    else:
                        yield entry
            self.places[name] = start

    def ends(self) -> dict[str, int]:
        """How far there is something to read now, as `places` has it."""
        found = sorted(self.folder.rglob(f"{self.kind}-*.jsonl"))
        return {path.relative_to(self.folder).as_posix(): path.stat().st_size for path in found}

    def read_up_to(self, places: Mapping[str, int]) -> Iterator[dict[str, Any]]:
        """Entries from where it stands up to given places, and no further."""
        for name, end in sorted(places.items()):
            if not (self.folder / name).exists():  # it was among the oldest
                continue
            with (self.folder / name).open("rb") as file:
                file.seek(self.places.get(name, 0))
                while file.tell() < end and (line := file.readline()):
                    if (entry := _entry(line)) is not None:
                        yield entry
            self.places[name] = end


def _entry(line: bytes) -> dict[str, Any] | None:
    """The entry on a line; None where it is none."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None
