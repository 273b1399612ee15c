"""Rows of dots with intervals over one axis: options against a constraint, categories of a curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from weigh.report.canvas import (
    FONT,
    NARROW,
    SERIES,
    Picture,
    Scale,
    Sheet,
    colour,
    round_numbers,
    text_width,
    unbroken,
    wrapped,
)

_ROW, _LINE, _TOP, _BOTTOM, _SIDE = 40.0, 15.0, 20.0, 42.0, 6.0
_BAND = (19.0, 35.0)
"""Where in a row, from its top, the strip of the interval lies."""
_LABEL = 186.0
"""What a label may take of a line; figures stand beside it."""
MARKERS = {"chosen": "D", "tied": "o", "undecided": "o", "violates": "X", "dominated": "s", "failed": "x"}
"""Shapes say again what colours say."""
_COUNTED = ("chosen", "tied", "undecided", *SERIES)
_STRETCH = 2.5
"""How much wider a picture may become so that no interval leaves it."""


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
    unit: str = ""

    def __str__(self) -> str:
        number = f"{self.value:.4g}".replace("-", "\N{MINUS SIGN}")
        return f"{'at most' if self.op == '<=' else 'at least'} {number} {self.unit}".strip()


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
    labels = [_lines(row) for row in rows]
    tops = [_TOP]
    for lines in labels:
        tops.append(tops[-1] + _ROW + _LINE * (len(lines) - 1))
    sheet = Sheet(NARROW, tops[-1] + _BOTTOM, (_SIDE, _SIDE, _TOP, _BOTTOM))
    span = _span(rows, bound, share)
    sheet.numbers("x", span.low, span.high, span.scale)
    sheet.ticks("y", [], [])
    sheet.axes.set_ylim(tops[-1], _TOP)
    sheet.axes.xaxis.grid(False)
    if bound:
        _draw_bound(sheet, bound)
    for row, lines, end in zip(rows, labels, tops[1:], strict=True):
        _draw_row(sheet, span, row, lines, end - _ROW, bound)
    sheet.write(NARROW / 2, sheet.height - 7, axis, shade="muted", size=FONT - 0.5, ha="center")
    return Picture(title, sheet.svg(key, title, _words(rows, axis, bound)), code=unbroken(code))


def _lines(row: Row) -> Sequence[str]:
    """A label in lines, with an empty last one where its figures need the line for themselves."""
    lines = wrapped(row.label, _LABEL)
    wide = text_width(lines[-1]) * (1.1 if row.strong else 1.0) + text_width(row.text, FONT - 0.5)
    return lines if wide + 10 <= NARROW - 2 * _SIDE else [*lines, ""]


def _words(rows: Sequence[Row], axis: str, bound: Bound | None) -> str:
    limit = f", must be {bound}" if bound else ""
    return f"{axis}{limit}. " + "; ".join(f"{row.label}: {row.text}" for row in rows) + "."


def _draw_bound(sheet: Sheet, bound: Bound) -> None:
    """What must hold, above the line that says it."""
    x = sheet.place(bound.value, 0)[0]
    word = f"must be {bound}"
    half = text_width(word, FONT - 1) / 2 + 2
    place = min(max(x, half), sheet.width - half)
    sheet.write(place, 13, word, shade="violates", size=FONT - 1, ha="center")


def _draw_row(sheet: Sheet, span: _Span, row: Row, label: Sequence[str], top: float, bound: Bound | None) -> None:
    """A row whose label ends, and whose figures stand, on the line at `top`; earlier lines of the label are above."""
    weight = "bold" if row.strong else "normal"
    for line, text in enumerate(reversed(label)):
        sheet.write(_SIDE, top + 14 - _LINE * line, text, weight=weight)
    sheet.write(sheet.width - _SIDE, top + 14, row.text, shade="muted", size=FONT - 0.5, ha="right")
    middle = top + (_BAND[0] + _BAND[1]) / 2
    _draw_track(sheet, span, top, bound)
    if row.estimate is not None:
        _draw_interval(sheet, span, row, middle)
        if span.low <= row.estimate <= span.high:
            sheet.line(
                [row.estimate], [middle], row.shade, marker=MARKERS.get(row.shade, "o"), markersize=8.5,
                markeredgecolor=colour("paper"), markeredgewidth=1.1,
            )  # fmt: skip


def _draw_track(sheet: Sheet, span: _Span, top: float, bound: Bound | None) -> None:
    """The strip under a label that its interval lies on, its forbidden part tinted."""
    low, high = top + _BAND[0], top + _BAND[1]
    sheet.area((span.low, low), span.high - span.low, high - low, "grid", 0.45)
    for x in span.marks:
        sheet.line([x, x], [low, high], "paper", linewidth=1.2)
    if bound is not None:
        edge = span.high if bound.op == "<=" else span.low
        sheet.area((min(bound.value, edge), low), abs(edge - bound.value), high - low, "violates", 0.2)
        sheet.line([bound.value] * 2, [low - 2, high + 2], "violates", linewidth=1.8)


def _draw_interval(sheet: Sheet, span: _Span, row: Row, y: float) -> None:
    if row.low == row.high:
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
    """What the axis covers: every estimate, the bound, the intervals of options that count; others may leave it.

    Options that break a constraint count where no other is left.
    """
    counted = [row for row in rows if row.shade in _COUNTED] or rows
    core = [row.estimate for row in rows if row.estimate is not None] + ([bound.value] if bound else [])
    core += [end for row in counted for end in (row.low, row.high) if end is not None]
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
    whole = max([high, *ends]) - min([low, *ends])
    reach = math.inf if whole <= _STRETCH * (high - low) else (high - low) * 0.3
    seen = [end for end in ends if low - reach <= end <= high + reach]
    low, high = min([low, *seen]), max([high, *seen])
    pad = (high - low) * 0.05 or max(abs(high) * 0.1, 0.5)
    return _Span(low - pad, high + pad, scale)
