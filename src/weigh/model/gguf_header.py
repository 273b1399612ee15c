"""The header of a GGUF file, walked before a reader believes the counts that stand in it."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value of each type but texts and arrays."""
TEXT, ARRAY = 8, 9
DEEPEST = 4
DIMENSIONS = 4
"""Of a tensor at most (GGML_MAX_DIMS)."""


def check(path: Path) -> None:
    """Raises `ValueError` when the header claims more texts, values or tensors than the file has bytes for."""
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        walk = _Walk(content)
        if content[:4] != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        version = walk.number("I")
        walk.order = "<" if version & 65535 else ">"
        tensors, fields = walk.number("Q"), walk.number("Q")
        walk.need(fields * 13 + tensors * 24, f"{fields:,} fields and {tensors:,} tensors")
        for _ in range(fields):
            walk.text()
            walk.value(walk.number("I"))
        for _ in range(tensors):
            walk.text()
            dimensions = walk.number("I")
            if dimensions > DIMENSIONS:
                raise ValueError(f"a tensor claims {dimensions:,} dimensions")
            walk.skip(dimensions * 8 + 12, "a tensor")


class _Walk:
    """A place in the header, after its first word; `order` of the bytes as `struct` writes it."""

    def __init__(self, content: mmap.mmap) -> None:
        self.content, self.at, self.order = content, 4, "<"

    def need(self, count: int, what: str) -> None:
        left = len(self.content) - self.at
        if count > left:
            raise ValueError(f"{what} cannot lie in the {left:,} bytes that are left of it")

    def skip(self, count: int, what: str) -> None:
        self.need(count, what)
        self.at += count

    def number(self, kind: str) -> int:
        size = struct.calcsize(self.order + kind)
        self.skip(size, "a number")
        return int(struct.unpack_from(self.order + kind, self.content, self.at - size)[0])

    def text(self) -> None:
        length = self.number("Q")
        self.skip(length, f"a text of {length:,} bytes")

    def value(self, kind: int, depth: int = 0) -> None:
        if kind == TEXT:
            self.text()
        elif kind == ARRAY:
            self._array(depth)
        elif kind in SIZES:
            self.skip(SIZES[kind], "a value")
        else:
            raise ValueError(f"a field is of the unknown type {kind}")

    def _array(self, depth: int) -> None:
        kind, count = self.number("I"), self.number("Q")
        what = f"an array of {count:,} values"
        if depth == DEEPEST:
            raise ValueError(f"{what} lies in {depth} others")
        if kind in SIZES:
            self.skip(count * SIZES[kind], what)
            return
        self.need(count * (12 if kind == ARRAY else 8), what)
        for _ in range(count):
            self.value(kind, depth + 1)
