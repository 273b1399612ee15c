"""Whether every line of a CSV file has as many values as its header: short lines would be filled up without a word."""

from __future__ import annotations

import csv
import gzip
import io
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import IO, NamedTuple

from weigh.data.error import DataError


class _Record(NamedTuple):
    """A record's number, the line that it starts in, and how many values it has; an open quote has none."""

    number: int
    line: int
    values: int


def need_header(path: Path, head: str) -> None:
    """Raise a `DataError` when the header names a column twice; `head` is where the file begins."""
    names = next(csv.reader(head.splitlines(keepends=True)), [])
    for name, times in Counter(names).items():
        if times > 1:
            where = ", ".join(str(at) for at, other in enumerate(names, 1) if other == name)
            raise DataError(
                f"You gave {path}, whose header names {name!r} {times} times (columns {where}), so that it is "
                "not clear which one is meant: give each column a name of its own."
            )


def need_even(path: Path, head: bytes | None = None) -> None:
    """Raise a `DataError` that names the first line with more or fewer values than the header; one pass, no memory.

    With `head`, the beginning of the text, only the lines that stand in it as a whole are looked at.
    """
    if head is not None:
        whole = head[: head.rfind(b"\n") + 1]
        header, odd = _first_odd(io.BytesIO(whole))
        odd = odd if odd and odd.values else None
    else:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
            header, odd = _first_odd(file)
    if odd is None:
        return
    if not odd.values:
        raise DataError(f"You gave {path}, whose line {odd.line} opens a quote that is never closed: mend that line.")
    found = "1 value, or none," if odd.values == 1 else f"{odd.values} values"
    raise DataError(
        f"You gave {path}, whose line {odd.line} (row {odd.number - 1}) has {found} where the header names {header} "
        f"columns: mend or delete that line (sed -n {odd.line}p shows it), or write the file again."
    )


def _first_odd(lines: IO[bytes] | Iterable[bytes]) -> tuple[int, _Record | None]:
    """How many values the header has, and the first record that has another number of them."""
    header, number, commas, inside, start = 0, -1, 0, False, 1
    for line, text in enumerate(lines, 1):
        if inside or b'"' in text:
            start = start if inside else line
            parts = text.split(b'"')
            commas += sum(part.count(b",") for part in parts[inside::2])
            inside ^= len(parts) % 2 == 0
            if inside:
                continue
        else:
            start, commas = line, text.count(b",")
        number += 1
        if number == 0:
            header = commas + 1
        elif commas + 1 != header:
            return header, _Record(number, start, commas + 1)
        commas = 0
    return header, _Record(number + 1, start, 0) if inside else None
