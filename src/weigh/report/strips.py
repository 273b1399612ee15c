"""Small multiples: a strip a line, all on one scale, for more lines than one picture can hold."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from weigh.report.canvas import (
    FONT,
    NARROW,
    WIDE,
    Picture,
    Sheet,
    colour,
    mark_labels,
    round_numbers,
    shortened,
    text_width,
)
from weigh.report.lines import Axes, Trace, in_words

_STRIP, _TOP, _BOTTOM, _GAP = 60.0, 22.0, 42.0, 20.0
_FLOOR, _REACH = 0.95, 0.66
"""Where in a strip, from its top, the scale starts; how much of the strip it takes."""


@dataclass(frozen=True, slots=True)
class _Grid:
    """Where strips lie on a sheet: columns of equal width, an x range and a y range that all of them share."""

    width: float
    columns: int
    per: int
    x: tuple[float, float]
    y: tuple[float, float]

    def box(self, index: int) -> tuple[float, float, int]:
        """Left, right and row of a strip."""
        column, row = divmod(index, self.per)
        each = self.width / self.columns
        return column * each + 4, (column + 1) * each - (_GAP - 4 if self.columns > 1 else 4), row

    def across(self, index: int, x: float) -> float:
        left, right, _ = self.box(index)
        return left + (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1.0) * (right - left)

    def down(self, index: int, y: float | None) -> float:
        if y is None:
            return math.nan
        share = (min(max(y, self.y[0]), self.y[1]) - self.y[0]) / (self.y[1] - self.y[0])
        return self.box(index)[2] + _FLOOR - _REACH * share


def strips(key: str, title: str, traces: Sequence[Trace], axes: Axes, note: str = "") -> Picture:
    """A picture of strips for a phone, and one for wide screens; behind each line the median of all, in grey."""
    low, high, out = reach(traces)
    ends = mark_labels([low, high])
    scale = f"Every strip goes from {ends[0]} to {ends[1]}; the number is the last; grey: the median of all lines."
    beyond = f" Beyond the scale, and cut: {', '.join(out)}." if out else ""
    text = f"{axes.y} over {axes.x}, a strip a line. " + "; ".join(in_words(trace) for trace in traces) + "."
    narrow, wide = (_sheet(width, traces, axes, (low, high)) for width in (NARROW, WIDE))
    whole = f"{note} {scale}{beyond}".strip()
    return Picture(title, narrow.svg(key, title, text), wide.svg(f"{key}-wide", title, text), (), whole)


def reach(traces: Sequence[Trace]) -> tuple[float, float, list[str]]:
    """From the least to the greatest value, in two figures, and the lines that lie so far off that they are cut."""
    known = {trace.name: [y for y in trace.y if y is not None] for trace in traces}
    middles = {name: statistics.median(values) for name, values in known.items()}
    center = statistics.median(middles.values())
    usual = statistics.median(max(values) - min(values) for values in known.values())
    spread = statistics.median(abs(middle - center) for middle in middles.values())
    near = max(usual, 3 * spread)
    out = [name for name, middle in middles.items() if near and abs(middle - center) > near]
    kept = [y for name, values in known.items() if name not in out for y in values]
    low, high = min(kept), max(kept)
    unit = 10.0 ** (math.floor(math.log10((high - low) or abs(high) or 1.0)) - 1)
    low = 0.0 if 0 <= low < 0.1 * (high - low) else math.floor(low / unit) * unit
    high = math.ceil(high / unit) * unit
    return low, high if high > low else low + 1.0, out


def _sheet(width: float, traces: Sequence[Trace], axes: Axes, up: tuple[float, float]) -> Sheet:
    columns = 1 if width == NARROW else 3
    per = math.ceil(len(traces) / columns)
    height = _TOP + _STRIP * per + _BOTTOM
    sheet = Sheet(width, height, (0, 0, _TOP, _BOTTOM))
    places = [x for trace in traces for x in trace.x]
    grid = _Grid(width, columns, per, (min(places), max(places)), up)
    sheet.axes.set_xlim(0, width)
    sheet.axes.set_ylim(per, 0)
    sheet.ticks("y", [], [])
    middle = _median(traces)
    for index, trace in enumerate(traces):
        _strip(sheet, grid, index, trace, middle)
    _marks(sheet, grid, axes)
    sheet.write(2, 13, shortened(axes.y, width - 4), shade="muted", size=FONT - 0.5)
    sheet.write(width / 2, height - 6, shortened(axes.x, width), shade="muted", size=FONT - 0.5, ha="center")
    return sheet


def _median(traces: Sequence[Trace]) -> list[tuple[float, float]]:
    """The median of all lines, where at least half of them have a value."""
    at: dict[float, list[float]] = {}
    for trace in traces:
        for x, y in zip(trace.x, trace.y, strict=True):
            if y is not None:
                at.setdefault(x, []).append(y)
    return [(x, statistics.median(values)) for x, values in sorted(at.items()) if 2 * len(values) >= len(traces)]


def _strip(sheet: Sheet, grid: _Grid, index: int, trace: Trace, middle: Sequence[tuple[float, float]]) -> None:
    left, right, row = grid.box(index)
    x = [grid.across(index, place) for place in trace.x]
    if trace.low and trace.high:
        bottom = [grid.down(index, grid.y[0] if end is None else end) for end in trace.low]
        top = [grid.down(index, grid.y[1] if end is None else end) for end in trace.high]
        sheet.axes.fill_between(x, bottom, top, color=colour(trace.shade), alpha=0.16, linewidth=0)
    sheet.line([left, right], [row + _FLOOR] * 2, "grid", linewidth=1)
    ghost = [grid.across(index, place) for place, _ in middle], [grid.down(index, y) for _, y in middle]
    sheet.line(*ghost, "s0", linewidth=1.2, alpha=0.75)
    sheet.line(x, [grid.down(index, y) for y in trace.y], trace.shade, linewidth=1.7)
    last = next(y for y in reversed(trace.y) if y is not None)
    words, place = f"{last:.3g}", _TOP + _STRIP * row + 13
    sheet.write(left, place, shortened(trace.name, right - left - text_width(words) - 8), size=FONT - 0.5)
    sheet.write(right, place, words, shade="muted", size=FONT - 0.5, ha="right")


def _marks(sheet: Sheet, grid: _Grid, axes: Axes) -> None:
    """The first and the last mark of the x axis, under each column."""
    numbers = round_numbers(*grid.x, "linear", 4)
    marks = axes.marks or tuple(zip(numbers, mark_labels(numbers), strict=True))
    ends = [(marks[0], "left"), (marks[-1], "right")] if len(marks) > 1 else [(mark, "left") for mark in marks]
    spots = [(grid.across(c * grid.per, x), text, side) for c in range(grid.columns) for (x, text), side in ends]
    sheet.ticks("x", [x for x, _, _ in spots], [text for _, text, _ in spots], grid=False)
    for label, (_, _, side) in zip(sheet.axes.get_xticklabels(), spots, strict=True):
        label.set_ha(side)
