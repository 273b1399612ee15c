"""Lines with bands over one axis: what a race knew by block, and curves over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

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
        settles: lines start wildly and settle: their beginnings may leave the picture.
    """

    x: str
    y: str
    marks: tuple[tuple[float, str], ...] = ()
    scale: Scale = "linear"
    bound: Bound | None = None
    level: float | None = None
    settles: bool = False


_DOTS = 24
"""Lines of up to so many points show each of them."""


def lines(key: str, title: str, traces: Sequence[Trace], axes: Axes, wide: bool = False, note: str = "") -> Picture:
    """A picture of lines with a legend; with `wide` also drawn for wide screens."""
    text = f"{axes.y} over {axes.x}. " + "; ".join(in_words(trace) for trace in traces) + "."
    narrow = _sheet(NARROW, 270.0, traces, axes).svg(key, title, text)
    broad = _sheet(WIDE, 340.0, traces, axes).svg(f"{key}-wide", title, text) if wide else ""
    legend = tuple(Key(trace.shade, trace.name) for trace in traces)
    return Picture(title, narrow, broad, legend if len(legend) > 1 else (), note)


def in_words(trace: Trace) -> str:
    """Where a line starts and ends, for who cannot see it."""
    known = [y for y in trace.y if y is not None]
    return f"{trace.name}: from {known[0]:.4g} to {known[-1]:.4g}" if known else f"{trace.name}: nothing"


def _sheet(width: float, height: float, traces: Sequence[Trace], axes: Axes) -> Sheet:
    low, high = y_range(traces, axes)
    widest = max(text_width(label, FONT - 1) for label in mark_labels(round_numbers(low, high, "linear", 5)) or [""])
    sheet = Sheet(width, height, (widest + 10, 12, 26, 42))
    sheet.numbers("y", low, high, "linear", 5)
    _x_axis(sheet, traces, axes)
    sheet.write(2, 13, shortened(axes.y, width - 4), shade="muted", size=FONT - 0.5)
    sheet.write(width / 2, height - 6, shortened(axes.x, width), shade="muted", size=FONT - 0.5, ha="center")
    if axes.bound:
        edge = high if axes.bound.op == "<=" else low
        sheet.axes.axhspan(axes.bound.value, edge, color=colour("violates"), alpha=0.09, linewidth=0)
        sheet.axes.axhline(axes.bound.value, color=colour("violates"), linewidth=1.4)
    if axes.level is not None:
        sheet.axes.axhline(axes.level, color=colour("ink"), linewidth=1)
    dots = max(len(trace.x) for trace in traces) <= _DOTS
    for trace in sorted(traces, key=lambda trace: trace.front):
        _draw(sheet, trace, low, high, dots)
    return sheet


def _x_axis(sheet: Sheet, traces: Sequence[Trace], axes: Axes) -> None:
    places = [x for trace in traces for x in trace.x]
    left, right = (min(places), max(places)) if places else (0.0, 1.0)
    if axes.marks:
        pad = (right - left) * 0.01 or 0.5
        sheet.axes.set_xlim(left - pad, right + pad)
        few = _spaced(axes.marks, sheet.width, left, right)
        sheet.ticks("x", [x for x, _ in few], [text for _, text in few], grid=False)
        return
    if axes.scale == "log":
        sheet.numbers("x", left / 1.05, right * 1.05 if right > left else left * 2, "log", 5)
    else:
        pad = (right - left) * 0.02 or 0.5
        sheet.numbers("x", left - pad, right + pad, "linear", 4 if sheet.width == NARROW else 8)
    sheet.axes.xaxis.grid(False)


def _spaced(marks: Sequence[tuple[float, str]], width: float, left: float, right: float) -> list[tuple[float, str]]:
    """As many marks as stand apart."""
    if not marks:
        return []
    widest = max(text_width(text, FONT - 1) for _, text in marks) + 14
    least = widest / max(width - 60, 1) * (right - left)
    step = next((s for s in range(1, len(marks) + 1) if all(b[0] - a[0] >= least for a, b in pairwise(marks[::s]))), 1)
    return list(marks[::step])


def _draw(sheet: Sheet, trace: Trace, low: float, high: float, dots: bool) -> None:
    y = [math.nan if value is None else value for value in trace.y]
    if trace.low and trace.high:
        _band(sheet, trace, low, high)
    width, dashes = 2.4 if trace.front else 1.7, DASHES.get(trace.shade, "-")
    sheet.line(trace.x, y, trace.shade, linewidth=width, linestyle=dashes)
    known = [(x, value) for x, value in zip(trace.x, trace.y, strict=True) if value is not None]
    shown = known if dots else known[-1:]
    x, y = [place for place, _ in shown], [value for _, value in shown]
    sheet.line(x, y, trace.shade, linestyle="", marker="o", markersize=4.5, clip_on=False)


def _band(sheet: Sheet, trace: Trace, low: float, high: float) -> None:
    """The interval where both of its ends are known."""
    ends = list(zip(trace.low, trace.high, strict=True))
    bottom = [low if value is None else max(value, low) for value, _ in ends]
    top = [high if value is None else min(value, high) for _, value in ends]
    sheet.axes.fill_between(
        trace.x, bottom, top, where=[None not in pair for pair in ends], color=colour(trace.shade),
        alpha=0.2 if trace.front else 0.1, linewidth=0,
    )  # fmt: skip


def y_range(traces: Sequence[Trace], axes: Axes) -> tuple[float, float]:
    """What the y axis covers: lines, bands, the bound; of lines that settle, what they have settled to."""
    values = [axes.bound.value] if axes.bound else []
    values += [] if axes.level is None else [axes.level]
    for trace in traces:
        count = len(trace.x) if axes.settles and len(trace.x) > 8 else 0
        seen = (trace.y[count // 5 :], trace.low[count // 2 :], trace.high[count // 2 :])
        values += [value for part in seen for value in part if value is not None]
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    pad = (high - low) * 0.06 or max(abs(high) * 0.1, 0.5)
    return low - pad, high + pad
