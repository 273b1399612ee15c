"""Lines with bands over one axis: what a race knew by block, and curves over time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from weigh.report.canvas import (
    DASHES,
    FONT,
    NARROW,
    WIDE,
    Key,
    Picture,
    Scale,
    Sheet,
    colour,
    mark_labels,
    round_numbers,
    shortened,
    text_width,
    wrapped,
)
from weigh.report.forest import Bound


@dataclass(frozen=True, slots=True)
class Trace:
    """One line; a missing y breaks it, a missing end of the band opens it."""

    name: str
    shade: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    front: bool = False


class Mark(NamedTuple):
    """A place on an x axis that has no numbers: its text, and what is said under the first of many (a year)."""

    place: float
    text: str
    under: str = ""


@dataclass(frozen=True, slots=True)
class Axes:
    """What the axes say.

    Attributes:
        x: what goes across.
        y: what goes up, with its unit.
        marks: places and texts of an x axis that has no numbers.
        scale: of the x axis.
        bound: what lines must keep to.
        level: where a line across stands.
        level_text: what is said of it.
        settles: lines start wildly and settle: their beginnings may leave the picture.
        ratios: values are positive and may be compared as ratios: far apart, they are drawn on a logarithmic axis.
    """

    x: str
    y: str
    marks: tuple[Mark, ...] = ()
    scale: Scale = "linear"
    bound: Bound | None = None
    level: float | None = None
    level_text: str = ""
    settles: bool = False
    ratios: bool = False


_DOTS = 24
"""Lines of up to so many points show each of them."""
_BANDS, _BAR = 3, 7.0
"""How many bands a picture of lines that settle can hold; how far apart bars stand, in CSS pixels."""
_APART = 12.0
"""How many times the least the greatest value may be on an axis that is not logarithmic."""


def lines(key: str, title: str, traces: Sequence[Trace], axes: Axes, wide: bool = False, note: str = "") -> Picture:
    """A picture of lines with a legend; with `wide` also drawn for wide screens."""
    text = f"{axes.y} over {axes.x}. " + "; ".join(in_words(trace) for trace in traces) + "."
    narrow = _sheet(NARROW, 270.0, traces, axes).svg(key, title, text)
    broad = _sheet(WIDE, 340.0, traces, axes).svg(f"{key}-wide", title, text) if wide else ""
    legend = tuple(Key(trace.shade, trace.name) for trace in traces)
    note = f"{note} Bars on the right: the last intervals.".strip() if _bars(traces, axes) else note
    return Picture(title, narrow, broad, legend if len(legend) > 1 else (), note)


def in_words(trace: Trace) -> str:
    """Where a line starts and ends, for who cannot see it."""
    known = [y for y in trace.y if y is not None]
    return f"{trace.name}: from {known[0]:.4g} to {known[-1]:.4g}" if known else f"{trace.name}: nothing"


def mark_texts(marks: Sequence[Mark], pixels: float) -> list[tuple[float, str]]:
    """As many marks as stand apart, `pixels` being those of a step of one; what is under them where it changes.

    >>> mark_texts([Mark(0, "Nov", "2013"), Mark(1, "Dec", "2013"), Mark(2, "Jan", "2014")], 60.0)
    [(0, 'Nov\\n2013'), (1, 'Dec'), (2, 'Jan\\n2014')]
    """
    least = max((text_width(mark.text, FONT - 1) for mark in marks), default=0.0) + 14
    steps = range(1, len(marks) + 1)
    apart = (s for s in steps if all((b.place - a.place) * pixels >= least for a, b in pairwise(marks[::s])))
    kept = marks[:: next(apart, 1)]
    before = ["", *(mark.under for mark in kept)]
    return [
        (mark.place, f"{mark.text}\n{mark.under}" if mark.under != last else mark.text)
        for mark, last in zip(kept, before, strict=False)
    ]


def _sheet(width: float, height: float, traces: Sequence[Trace], axes: Axes) -> Sheet:
    low, high, scale = y_range(traces, axes)
    labels = mark_labels(round_numbers(low, high, scale, 5))
    widest = max([text_width(label, FONT - 1) for label in labels], default=0.0)
    head = wrapped(axes.y, width - 4, 2, FONT - 0.5)
    under, extra = (13.0 if any(mark.under for mark in axes.marks) else 0.0), 15.0 * (len(head) - 1)
    bars = _bars(traces, axes)
    right = 12 + _BAR * len(bars)
    sheet = Sheet(width, height + extra + under, (widest + 10, right, 26 + extra, 42 + under))
    sheet.numbers("y", low, high, scale, 5)
    _x_axis(sheet, traces, axes)
    for line, text in enumerate(head):
        sheet.write(2, 13 + 15 * line, text, shade="muted", size=FONT - 0.5)
    title = shortened(axes.x, width)
    sheet.write(width / 2, sheet.height - 6, title, shade="muted", size=FONT - 0.5, ha="center")
    _levels(sheet, axes, low, high)
    dots = max(len(trace.x) for trace in traces) <= _DOTS
    for trace in sorted(traces, key=lambda trace: trace.front):
        _draw(sheet, trace, low, high, dots, band=trace.front or not bars)
    for index, (shade, bottom, top) in enumerate(bars):
        if bottom < high and top > low:
            sheet.bar(width - right + 9 + _BAR * index, max(bottom, low), min(top, high), shade)
    return sheet


def _bars(traces: Sequence[Trace], axes: Axes) -> list[tuple[str, float, float]]:
    """The last intervals of lines that settle, where there are so many that their bands would hide one another."""
    if not axes.settles or len(traces) <= _BANDS:
        return []
    last = [(trace.shade, trace.low[-1], trace.high[-1]) for trace in traces if trace.low and trace.high]
    return [(shade, low, high) for shade, low, high in last if low is not None and high is not None]


def _levels(sheet: Sheet, axes: Axes, low: float, high: float) -> None:
    """What lines must keep to, and what they are read against."""
    if axes.bound:
        edge = high if axes.bound.op == "<=" else low
        sheet.axes.axhspan(axes.bound.value, edge, color=colour("violates"), alpha=0.09, linewidth=0)
        sheet.axes.axhline(axes.bound.value, color=colour("violates"), linewidth=1.4)
    if axes.level is not None:
        sheet.axes.axhline(axes.level, color=colour("ink"), linewidth=1)
        left, y = sheet.place(sheet.axes.get_xlim()[0], axes.level)
        sheet.write(left + 2, y - 4, axes.level_text, size=FONT - 1)


def _x_axis(sheet: Sheet, traces: Sequence[Trace], axes: Axes) -> None:
    places = [x for trace in traces for x in trace.x]
    left, right = (min(places), max(places)) if places else (0.0, 1.0)
    if axes.marks:
        pad = (right - left) * 0.01 or 0.5
        sheet.axes.set_xlim(left - pad, right + pad)
        few = mark_texts(axes.marks, sheet.place(1, 0)[0] - sheet.place(0, 0)[0])
        sheet.ticks("x", [x for x, _ in few], [text for _, text in few], grid=False)
        return
    if axes.scale == "log":
        sheet.numbers("x", left / 1.05, right * 1.05 if right > left else left * 2, "log", 5)
    else:
        pad = (right - left) * 0.02 or 0.5
        count = 4 if sheet.width == NARROW else 8
        sheet.numbers("x", left - pad, right + pad, "linear", count)
        if places and all(x == int(x) for x in places) and right - left <= count:
            each = [float(x) for x in range(int(left), int(right) + 1)]
            sheet.ticks("x", each, mark_labels(each))
    sheet.axes.xaxis.grid(False)


def _draw(sheet: Sheet, trace: Trace, low: float, high: float, dots: bool, band: bool) -> None:
    y = [math.nan if value is None else value for value in trace.y]
    if band and trace.low and trace.high:
        _band(sheet, trace, low, high)
    width, dashes = 2.4 if trace.front else 1.7, DASHES.get(trace.shade, "-")
    sheet.line(trace.x, y, trace.shade, linewidth=width, linestyle=dashes)
    known = [
        (x, value) for x, value in zip(trace.x, trace.y, strict=True) if value is not None and low <= value <= high
    ]
    shown = known if dots else known[-1:]
    x, y = [place for place, _ in shown], [value for _, value in shown]
    sheet.line(x, y, trace.shade, linestyle="", marker="o", markersize=4.5, clip_on=False)


def _band(sheet: Sheet, trace: Trace, low: float, high: float) -> None:
    """The interval where both of its ends are known."""
    ends = list(zip(trace.low, trace.high, strict=True))
    bottom = [low if value is None else min(max(value, low), high) for value, _ in ends]
    top = [high if value is None else max(min(value, high), low) for _, value in ends]
    sheet.axes.fill_between(
        trace.x, bottom, top, where=[None not in pair for pair in ends], color=colour(trace.shade),
        alpha=0.2 if trace.front else 0.1, linewidth=0,
    )  # fmt: skip


def y_range(traces: Sequence[Trace], axes: Axes) -> tuple[float, float, Scale]:
    """What the y axis covers: lines, bands, the bound; of lines that settle, what they have settled to."""
    core = [axes.bound.value] if axes.bound else []
    core += [] if axes.level is None else [axes.level]
    for trace in traces:
        skipped = len(trace.x) // 5 if axes.settles and len(trace.x) > 8 else 0
        core += [value for value in trace.y[skipped:] if value is not None]
    if not core:
        return 0.0, 1.0, "linear"
    low, high = min(core), max(core)
    bands = _bands(traces, axes.settles)
    if axes.ratios and low > 0 and high > _APART * low:
        low, high = _reaching(low, high, bands, low / 3, high * 3)
        pad = (high / low) ** 0.06
        return low / pad, high * pad, "log"
    if axes.settles and bands:
        far = 1.5 * statistics.median(top - bottom for bottom, top in bands)
        low, high = _reaching(low, high, bands, low - far, high + far)
    else:
        low, high = _reaching(low, high, bands, -math.inf, math.inf)
    pad = (high - low) * 0.06 or max(abs(high) * 0.1, 0.5)
    return low - pad, high + pad, "linear"


def _bands(traces: Sequence[Trace], settles: bool) -> list[tuple[float, float]]:
    """Known ends of the bands; of lines that settle the last."""
    found = []
    for trace in traces:
        known = [(a, b) for a, b in zip(trace.low, trace.high, strict=True) if a is not None and b is not None]
        found += known[-1:] if settles else known
    return found


def _reaching(
    low: float, high: float, bands: Sequence[tuple[float, float]], least: float, most: float
) -> tuple[float, float]:
    """The range with the bands, as far as they stay between two ends."""
    return (
        min([low, *(max(bottom, least) for bottom, _ in bands)]),
        max([high, *(min(top, most) for _, top in bands)]),
    )
