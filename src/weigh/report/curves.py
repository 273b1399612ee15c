"""Exhibits as pictures: curves over numbers, dates or categories."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping, Sequence

from weigh.choice import Curves, Line
from weigh.report.canvas import SERIES, Picture
from weigh.report.forest import Row, forest
from weigh.report.lines import Axes, Trace, lines
from weigh.report.strips import strips
from weigh.show import ends

_MOST, _STRIPS, _CATEGORIES, _WIDE_FROM = len(SERIES), 30, 40, 40


def picture(key: str, curves: Curves, known: Mapping[str, str] | None = None) -> Picture:
    """A picture of curves: lines, small multiples where there are many, rows of dots for categories.

    Args:
        key: starts the ids of the picture's parts.
        curves: what to draw.
        known: colours of lines that the page shows elsewhere too, by name.
    """
    drawn = [line for line in curves.lines if any(y is not None for y in line.y)]
    names = list(dict.fromkeys(x for line in drawn for x in line.x))
    shades = _shades([line.name for line in drawn], known or {})
    if not drawn:
        return Picture(curves.title, "", note=_joined(curves.note, "There is nothing to draw."))
    if not _in_order(names) and len(names) * len(drawn) <= _CATEGORIES:
        return _rows(key, curves, drawn, shades)
    places, marks = _places(names)
    axes = Axes(curves.x, curves.y, marks)
    if len(drawn) <= _MOST:
        traces = [_trace(line, shades[line.name], places) for line in drawn]
        return lines(key, curves.title, traces, axes, wide=len(names) >= _WIDE_FROM, note=curves.note)
    traces = [_trace(line, "chosen", places) for line in drawn[:_STRIPS]]
    left_out = f"The first {_STRIPS} of {len(drawn)} lines are drawn." if len(drawn) > _STRIPS else ""
    return strips(key, curves.title, traces, axes, _joined(curves.note, left_out))


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _in_order(names: Sequence[float | str]) -> bool:
    """Whether the x values have an order of their own: numbers, dates, or names that count (``week 3``)."""
    return all(not isinstance(x, str) or _date(x) is not None or re.search(r"\d$", x) for x in names)


def _date(text: str) -> datetime.datetime | None:
    if not re.match(r"^\d{4}-\d{2}(-\d{2}([T ].*)?)?$", text):
        return None
    try:
        found = datetime.datetime.fromisoformat(text if len(text) > 7 else f"{text}-01")
    except ValueError:
        return None
    return found.replace(tzinfo=None)


def _places(names: Sequence[float | str]) -> tuple[dict[float | str, float], tuple[tuple[float, str], ...]]:
    """Where each x stands, and the marks of the axis: none for numbers, which have their own."""
    if not any(isinstance(x, str) for x in names):
        return {x: float(x) for x in names}, ()
    dates = [_date(x) if isinstance(x, str) else None for x in names]
    known = [date for date in dates if date is not None]
    if len(known) == len(names):
        start = min(known)
        days = {x: (date - start).total_seconds() / 86400 for x, date in zip(names, known, strict=True)}
        return days, _date_marks(start, max(known))
    return {x: float(i) for i, x in enumerate(names)}, tuple((float(i), str(x)) for i, x in enumerate(names))


def _date_marks(start: datetime.datetime, end: datetime.datetime) -> tuple[tuple[float, str], ...]:
    """Round dates between two: months, days or hours."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num

    locator = AutoDateLocator(minticks=4, maxticks=13)
    zero = float(date2num(start))
    found = [float(x) for x in locator.tick_values(start, end) if date2num(start) <= x <= date2num(end)]
    labels = ConciseDateFormatter(locator).format_ticks(found) if found else []
    return tuple((place - zero, label) for place, label in zip(found, labels, strict=True))


def _trace(line: Line, shade: str, places: dict[float | str, float]) -> Trace:
    order = sorted(range(len(line.x)), key=lambda index: places[line.x[index]])

    def sorted_(values: Sequence[float | None]) -> tuple[float | None, ...]:
        kept = [values[index] for index in order] if values else []
        return tuple(None if value is None or not math.isfinite(value) else value for value in kept)

    x = tuple(places[line.x[index]] for index in order)
    return Trace(line.name, shade, x, sorted_(line.y), sorted_(line.low), sorted_(line.high))


def _shades(names: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """A colour for each line: the one by which the page knows all of them, else one after the other."""
    if all(name in known for name in names):
        return {name: known[name] for name in names}
    return {name: SERIES[index % _MOST] for index, name in enumerate(names)}


def _rows(key: str, curves: Curves, drawn: Sequence[Line], shades: Mapping[str, str]) -> Picture:
    rows = []
    for line_index, line in enumerate(drawn):
        for index, x in enumerate(line.x):
            middle = line.y[index]
            low, high = (end[index] if end else middle for end in (line.low, line.high))
            label = str(x) if len(drawn) == 1 else f"{x}: {line.name}"
            rows.append((index, line_index, Row(label, shades[line.name], middle, low, high, ends(middle, low, high))))
    made = forest(key, curves.title, [row for _, _, row in sorted(rows, key=lambda item: item[:2])], curves.y)
    return Picture(made.title, made.svg, note=curves.note)
