"""A heat map: a row a line, a column a moment, the value as a colour, for more lines than one picture can hold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from weigh.report.canvas import (
    FONT,
    NARROW,
    WIDE,
    Picture,
    Sheet,
    colour,
    mark_labels,
    round_numbers,
    text_width,
    wrapped,
)
from weigh.report.lines import Axes, Mark, Trace, in_words, mark_texts
from weigh.report.steps import Steps, cells, reach, steps

_ROW, _LINE, _HEAD, _FOOT, _KEY = 22.0, 15.0, 16.0, 54.0, 44.0
_NUMBERS = 400
"""Cells that may hold a number each."""


@dataclass(frozen=True, slots=True)
class _Grid:
    """Where cells lie, in CSS pixels."""

    left: float
    top: float
    across: float
    down: float

    def box(self, row: int, start: int, end: int) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the cells of a row from one column to before another."""
        gap = 1.0 if self.across > 5 else 0.0
        x, y = self.left + start * self.across, self.top + row * self.down
        return x, y, x + (end - start) * self.across - gap, y + self.down - 1.0


def heat(key: str, title: str, traces: Sequence[Trace], axes: Axes, note: str = "") -> Picture:
    """A picture for a phone and one for wide screens; where `axes` have a level, cells at or above it are outlined."""
    places, rows, merged = cells(traces)
    values = [value for row in rows for value in row if value is not None]
    near, out = reach(traces)
    scale = steps(values if axes.level is not None else near, axes.level)
    narrow, wide = (_sheet(width, traces, axes, scale, places, rows) for width in (NARROW, WIDE))
    said = "; ".join(_in_words(trace, row, axes.level) for trace, row in zip(traces, rows, strict=True))
    text = f"{axes.y} over {axes.x}, a row a line. {said}."
    parts = [note, f"Each cell is the mean of up to {merged} values." if merged > 1 else ""]
    parts += ["" if axes.level is None else f"Outlined: at or above {axes.level:g}."]
    parts += ["Empty: not known." if len(values) < len(rows) * len(places) else ""]
    parts += [f"Far beyond the steps: {', '.join(out)}." if out and axes.level is None else ""]
    whole = " ".join(part for part in parts if part)
    return Picture(title, narrow.svg(key, title, text), wide.svg(f"{key}-wide", title, text), (), whole)


def _in_words(trace: Trace, row: Sequence[float | None], level: float | None) -> str:
    if level is None:
        return in_words(trace)
    above = sum(value is not None and value >= level for value in row)
    return f"{in_words(trace)}, at or above {level:g} in {above} of {len(row)}"


def _sheet(
    width: float,
    traces: Sequence[Trace],
    axes: Axes,
    scale: Steps,
    places: Sequence[float],
    rows: Sequence[Sequence[float | None]],
) -> Sheet:
    room = min(max(text_width(trace.name) for trace in traces) + 2, 0.38 * width)
    names = [wrapped(trace.name, room, 2) for trace in traces]
    head = wrapped(axes.y, width - 4, 2, FONT - 0.5)
    down = _ROW + (_LINE - 4 if max(map(len, names)) > 1 else 0)
    top = _HEAD * len(head) + 8
    height = top + down * len(rows) + _FOOT + _KEY
    sheet = Sheet(width, height, (0, 0, 0, 0))
    sheet.axes.set_xlim(0, width)
    sheet.axes.set_ylim(height, 0)
    sheet.axes.axis("off")
    grid = _Grid(room + 8, top, (width - room - 12) / len(places), down)
    _paint(sheet, grid, scale, rows)
    if axes.level is not None:
        _outline(sheet, grid, rows, axes.level)
    _numbers(sheet, grid, scale, rows)
    for index, lines in enumerate(names):
        middle = grid.top + (index + 0.5) * down + 4 - (len(lines) - 1) * 7
        for line, text in enumerate(lines):
            sheet.write(0, middle + 14 * line, text, size=FONT - 0.5)
    for line, text in enumerate(head):
        sheet.write(0, 13 + _HEAD * line, text, shade="muted", size=FONT - 0.5)
    _marks(sheet, grid, axes, places, top + down * len(rows))
    _key(sheet, scale, grid.left, height - _KEY)
    return sheet


def _paint(sheet: Sheet, grid: _Grid, scale: Steps, rows: Sequence[Sequence[float | None]]) -> None:
    """All cells of a step as one shape, which keeps pages small."""
    boxes: dict[int, list[tuple[float, float, float, float]]] = {}
    for row, values in enumerate(rows):
        for index, value in enumerate(values):
            if value is not None:
                boxes.setdefault(scale.of(value), []).append(grid.box(row, index, index + 1))
    for step, found in sorted(boxes.items()):
        shade, strength = scale.shade(step)
        sheet.boxes(found, facecolor=colour(shade), alpha=strength, linewidth=0)


def _outline(sheet: Sheet, grid: _Grid, rows: Sequence[Sequence[float | None]], level: float) -> None:
    loud = [[value is not None and value >= level for value in values] for values in rows]
    found = [grid.box(row, *run) for row, values in enumerate(loud) for run in _runs(values)]
    if found:
        sheet.boxes(found, fill=False, edgecolor=colour("ink"), linewidth=1.1)


def _runs(values: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Where neighbours that are true start and end."""
    for true, group in groupby(enumerate(values), key=lambda item: item[1]):
        places = [index for index, _ in group]
        if true:
            yield places[0], places[-1] + 1


def _numbers(sheet: Sheet, grid: _Grid, scale: Steps, rows: Sequence[Sequence[float | None]]) -> None:
    """The value in each cell, where all of them have room."""
    known = {value for row in rows for value in row if value is not None}
    decimals = max(0, 2 - math.floor(math.log10(max(map(abs, known)) or 1.0)))
    texts = {value: f"{value:.{decimals}f}" for value in known}
    size = FONT - 1
    if len(rows) * len(rows[0]) > _NUMBERS or max(text_width(text, size) for text in texts.values()) > grid.across - 4:
        return
    for row, values in enumerate(rows):
        for index, value in enumerate(values):
            if value is not None:
                left, top, right, bottom = grid.box(row, index, index + 1)
                shade = "paper" if scale.shade(scale.of(value))[1] > 0.75 else "ink"
                place = (left + right) / 2, (top + bottom) / 2 + 4
                sheet.write(*place, texts[value], shade=shade, size=size, ha="center")


def _marks(sheet: Sheet, grid: _Grid, axes: Axes, places: Sequence[float], bottom: float) -> None:
    """Marks of the columns, under the middle of each, and what they are."""
    import numpy as np

    middles = [grid.left + (index + 0.5) * grid.across for index in range(len(places))]
    numbers = round_numbers(places[0], places[-1], "linear", 5) if len(places) > 1 else list(places)
    if not axes.marks and len(places) <= 14:
        numbers = list(places)
    marks = axes.marks or tuple(Mark(x, text) for x, text in zip(numbers, mark_labels(numbers), strict=True))
    inside = [mark._replace(place=float(np.interp(mark.place, places, middles))) for mark in marks]
    for x, text in mark_texts(inside, 1.0):
        for line, part in enumerate(text.split("\n")):
            sheet.write(x, bottom + 14 + 13 * line, part, shade="muted", size=FONT - 1, ha="center")
    middle = grid.left + grid.across * len(places) / 2
    sheet.write(middle, bottom + _FOOT - 10, axes.x, shade="muted", size=FONT - 0.5, ha="center")


def _key(sheet: Sheet, scale: Steps, left: float, top: float) -> None:
    """The steps side by side, with the numbers that part them."""
    texts: Mapping[float, str] = dict(zip(scale.edges, mark_labels(scale.edges), strict=True))
    each = min(
        max(max(text_width(text, FONT - 1) for text in texts.values()) + 10, 26),
        (sheet.width - left) / (len(scale.edges) + 1),
    )
    for step in range(len(scale.edges) + 1):
        shade, strength = scale.shade(step)
        box = (left + step * each, top + 6, left + (step + 1) * each - 1, top + 17)
        sheet.boxes([box], facecolor=colour(shade), alpha=strength, linewidth=0)
    for index, edge in enumerate(scale.edges, 1):
        weight = "bold" if edge == scale.pivot else "normal"
        x = left + index * each
        sheet.write(x, top + 31, texts[edge], shade="muted", size=FONT - 1, ha="center", weight=weight)
