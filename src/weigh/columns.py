"""Tables for terminals: as many columns side by side as the width has room for, and no figure folded in its middle."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from weigh.choice import Table as Exhibit
from weigh.scale.figures import ends, number

_GAP = 3


class Column(NamedTuple):
    """A head, which may fold, and its cells, which do not."""

    head: str
    cells: Sequence[Text]

    @property
    def width(self) -> int:
        """What it takes with the gap after it."""
        words = [*self.head.split(), *(line for cell in self.cells for line in cell.plain.splitlines())]
        return max(map(len, words), default=0) + _GAP


def table(columns: Sequence[str], rows: Iterable[Sequence[RenderableType]]) -> Table:
    """A table with a head and no frame; its first column is never folded."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for index, column in enumerate(columns):
        made.add_column(column, overflow="fold", no_wrap=index == 0, ratio=None)
    for row in rows:
        made.add_row(*row)
    return made


def grid(rows: Iterable[Sequence[RenderableType]]) -> Table:
    """Rows without a head: the first column stays on one line, the last folds."""
    made = Table.grid(padding=(0, 2))
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def beside(first: Column, columns: Sequence[Column], width: int) -> list[Table]:
    """Tables that each start with the `first` column: one, or as many as the width asks for."""
    groups: list[list[Column]] = []
    left = 0
    for column in columns:
        if not groups or column.width > left:
            groups.append([])
            left = width - first.width + _GAP
        groups[-1].append(column)
        left -= column.width
    return [_one([first, *group]) for group in groups or [[]]]


def _one(columns: Sequence[Column]) -> Table:
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for index, column in enumerate(columns):
        made.add_column(column.head, max_width=max(column.width, 8) if index else None, no_wrap=index == 0)
    for cells in zip(*(column.cells for column in columns), strict=True):
        made.add_row(*cells)
    return made


def exhibit(shown: Exhibit, width: int) -> list[RenderableType]:
    """A table that a choice shows: its title, its columns and its note."""
    shown = merged(shown)
    made = [list(map(Text, cells(column))) for column in zip(*shown.rows, strict=True)] or [[] for _ in shown.columns]
    columns = [Column(head, texts) for head, texts in zip(shown.columns, made, strict=True)]
    first = columns[0]._replace(cells=[_folded(text, width // 3) for text in columns[0].cells])
    parts: list[RenderableType] = [Text(shown.title, "bold")]
    for one in beside(first, columns[1:], width):
        parts += [one, Text()]
    return [*parts[:-1], *([Text(shown.note, "dim")] if shown.note else [])]


def _folded(text: Text, width: int) -> Text:
    import textwrap

    return Text("\n  ".join(textwrap.wrap(text.plain, max(width, 16))))


def merged(shown: Exhibit) -> Exhibit:
    """The table with ``x``, ``low`` and ``high`` in one column, as one figure with its interval."""
    starts = [i for i in range(len(shown.columns) - 2) if shown.columns[i + 1 : i + 3] == ("low", "high")]
    gone = {i + step for i in starts for step in (1, 2)}
    kept = [i for i in range(len(shown.columns)) if i not in gone]
    rows = tuple(tuple(_figure(row, i) if i in starts else row[i] for i in kept) for row in shown.rows)
    return shown.model_copy(update={"columns": tuple(shown.columns[i] for i in kept), "rows": rows})


def _figure(row: Sequence[str | float | int | None], at: int) -> str | float | int | None:
    middle, low, high = (value if isinstance(value, int | float) else None for value in row[at : at + 3])
    return row[at] if low is None and high is None else ends(middle, low, high)


def cells(column: Sequence[str | float | int | None]) -> list[str]:
    """A column as text: what is missing as a dash, numbers with the same digits after the point where that loses none.

    >>> cells([145.26, 150.0, None]), cells([0.00012, 3.0]), cells(["a", 1234567])
    (['145.3', '150.0', '–'], ['0.00012', '3'], ['a', '1,234,567'])
    """
    known = [value for value in column if isinstance(value, int | float) and value]
    digits = 0
    if any(isinstance(value, float) and value != int(value) for value in known):
        digits = max(0, 3 - math.floor(math.log10(max(map(abs, known)))))
    even = digits > 0 and all(round(abs(value), digits) >= 10**-digits for value in known)
    return [_cell(value, digits if even else None) for value in column]


def _cell(value: str | float | int | None, digits: int | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return number(value) if digits is None else f"{value:,.{digits}f}"
