"""Rows of dots with intervals over one axis: options against a constraint, categories of a curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from weigh.report.canvas import FONT, NARROW, Picture, Scale, Sheet, colour, round_numbers, shortened, text_width

_ROW, _TOP, _BOTTOM, _SIDE = 40.0, 4.0, 42.0, 6.0
_BAND = (0.48, 0.88)
"""Where in a row, from its top, the strip of the interval lies."""
MARKERS = {"chosen": "D", "tied": "o", "undecided": "o", "violates": "X", "dominated": "s", "failed": "x"}
"""Shapes say again what colours say."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a label, a point with its interval, and the same in words."""

    label: str
    shade: str
    estimate: float | None
    low: float | None
    high: float | None
    text: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Bound:
    """What must hold of every row: ``op`` is ``<=`` or ``>=``."""

    op: str
    value: float


@dataclass(frozen=True, slots=True)
class _Span:
    low: float
    high: float
    scale: Scale

    @property
    def marks(self) -> list[float]:
        return round_numbers(self.low, self.high, self.scale)


def forest(
    key: str,
    title: str,
    rows: Sequence[Row],
    axis: str,
    bound: Bound | None = None,
    code: str = "",
    share: bool = False,
) -> Picture:
    """A picture of rows; `axis` names what is measured, with its unit; a `share` never has a logarithmic axis."""
    top = _TOP + (16 if bound else 0)
    height = top + _ROW * len(rows) + _BOTTOM
    sheet = Sheet(NARROW, height, (_SIDE, _SIDE, top, _BOTTOM))
    span = _span(rows, bound, share)
    sheet.numbers("x", span.low, span.high, span.scale)
    sheet.ticks("y", [], [])
    sheet.axes.set_ylim(len(rows), 0)
    sheet.axes.xaxis.grid(False)
    if bound:
        _draw_bound(sheet, span, bound)
    for index, row in enumerate(rows):
        _draw_row(sheet, span, row, index, top, bound)
    sheet.write(NARROW / 2, height - 7, axis, shade="muted", size=FONT - 0.5, ha="center")
    return Picture(title, sheet.svg(key, title, _words(rows, axis, bound)), code=code)


def _words(rows: Sequence[Row], axis: str, bound: Bound | None) -> str:
    limit = f", must be {bound.op} {bound.value:g}" if bound else ""
    return f"{axis}{limit}. " + "; ".join(f"{row.label}: {row.text}" for row in rows) + "."


def _draw_bound(sheet: Sheet, span: _Span, bound: Bound) -> None:
    """What must hold, above the line that says it."""
    x = sheet.place(bound.value, 0)[0]
    word = f"must be {'at most' if bound.op == '<=' else 'at least'} {bound.value:.4g}"
    half = text_width(word, FONT - 1) / 2 + 2
    place = min(max(x, half), sheet.width - half)
    sheet.write(place, 13, word, shade="violates", size=FONT - 1, ha="center")


def _draw_row(sheet: Sheet, span: _Span, row: Row, index: int, top: float, bound: Bound | None) -> None:
    label_y = top + _ROW * index + 14
    room = sheet.width - 2 * _SIDE - text_width(row.text, FONT - 0.5) - 14
    weight = "bold" if row.strong else "normal"
    sheet.write(_SIDE, label_y, shortened(row.label, room), weight=weight)
    sheet.write(sheet.width - _SIDE, label_y, row.text, shade="muted", size=FONT - 0.5, ha="right")
    middle = index + (_BAND[0] + _BAND[1]) / 2
    _draw_track(sheet, span, index, bound)
    if row.estimate is not None:
        _draw_interval(sheet, span, row, middle)
        if span.low <= row.estimate <= span.high:
            sheet.line(
                [row.estimate], [middle], row.shade, marker=MARKERS.get(row.shade, "o"), markersize=8.5,
                markeredgecolor=colour("paper"), markeredgewidth=1.1,
            )  # fmt: skip


def _draw_track(sheet: Sheet, span: _Span, index: int, bound: Bound | None) -> None:
    """The strip under a label that its interval lies on, its forbidden part tinted."""
    low, high = index + _BAND[0], index + _BAND[1]
    sheet.area((span.low, low), span.high - span.low, high - low, "grid", 0.45)
    for x in span.marks:
        sheet.line([x, x], [low, high], "paper", linewidth=1.2)
    if bound is not None:
        edge = span.high if bound.op == "<=" else span.low
        sheet.area((min(bound.value, edge), low), abs(edge - bound.value), high - low, "violates", 0.2)
        sheet.line([bound.value] * 2, [low - 0.06, high + 0.06], "violates", linewidth=1.8)


def _draw_interval(sheet: Sheet, span: _Span, row: Row, y: float) -> None:
    if row.low is not None and row.low == row.high:
        return
    low = span.low if row.low is None else min(max(row.low, span.low), span.high)
    high = span.high if row.high is None else max(min(row.high, span.high), span.low)
    sheet.line([low, high], [y, y], row.shade, linewidth=2.4, solid_capstyle="butt")
    for end, cut, arrow in (
        (low, row.low is None or row.low < span.low, "<"),
        (high, row.high is None or row.high > span.high, ">"),
    ):
        shape, size = (arrow, 7) if cut else ("|", 9)
        sheet.line([end], [y], row.shade, marker=shape, markersize=size, markeredgewidth=2, clip_on=False)


def _span(rows: Sequence[Row], bound: Bound | None, share: bool) -> _Span:
    """What the axis covers: every estimate, the bound, the intervals of options that count; others may leave it."""
    core = [row.estimate for row in rows if row.estimate is not None] + ([bound.value] if bound else [])
    for row in rows:
        if row.shade in ("chosen", "tied", "undecided", "s1"):
            core += [end for end in (row.low, row.high) if end is not None]
    if not core:
        return _Span(0.0, 1.0, "linear")
    low, high = min(core), max(core)
    scale: Scale = "log" if not share and low > 0 and high > 12 * low else "linear"
    ends = [end for row in rows if row.estimate is not None for end in (row.low, row.high) if end is not None]
    if scale == "log":
        reach = max(math.log(high / low) * 0.3, 0.05)
        seen = [end for end in ends if low / math.exp(reach) <= end <= high * math.exp(reach)]
        low, high = min([low, *seen]), max([high, *seen])
        pad = math.exp(math.log(high / low) * 0.05)
        return _Span(low / pad, high * pad, scale)
    reach = (high - low) * 0.3
    seen = [end for end in ends if low - reach <= end <= high + reach]
    low, high = min([low, *seen]), max([high, *seen])
    pad = (high - low) * 0.05 or max(abs(high) * 0.1, 0.5)
    return _Span(low - pad, high + pad, scale)
