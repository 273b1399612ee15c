"""Exhibits as pictures: curves over numbers, dates or categories."""

from __future__ import annotations

import datetime
import math
import re
import statistics
from collections.abc import Mapping, Sequence

from weigh.choice import Curves, Line
from weigh.report.canvas import SERIES, Picture
from weigh.report.forest import Row, forest
from weigh.report.heat import heat
from weigh.report.lines import Axes, Mark, Trace, lines
from weigh.show import ends

_MOST, _ROWS, _CATEGORIES, _WIDE_FROM, _APART = len(SERIES), 30, 40, 40, 12.0


def picture(key: str, curves: Curves, known: Mapping[str, str] | None = None) -> Picture:
    """A picture of curves: lines, a heat map where there are many, rows of dots for categories.

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
    said = f"level {curves.level:g}" if curves.level else ""  # 0 is a line that needs no name
    axes = Axes(curves.x, curves.y, marks, level=curves.level, level_text=said, ratios=_far_apart(drawn))
    if len(drawn) <= _MOST:
        traces = [_trace(line, shades[line.name], places) for line in drawn]
        return lines(key, curves.title, traces, axes, wide=len(names) >= _WIDE_FROM, note=curves.note)
    traces = [_trace(line, "chosen", places) for line in drawn[:_ROWS]]
    left_out = f"The first {_ROWS} of {len(drawn)} lines are drawn." if len(drawn) > _ROWS else ""
    return heat(key, curves.title, traces, axes, _joined(curves.note, left_out))


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _far_apart(drawn: Sequence[Line]) -> bool:
    """Whether all values are positive, and those of one line many times those of another."""
    known = [[y for y in line.y if y is not None] for line in drawn]
    middles = [statistics.median(values) for values in known]
    return min(map(min, known)) > 0 and max(middles) > _APART * min(middles)


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


def _places(names: Sequence[float | str]) -> tuple[dict[float | str, float], tuple[Mark, ...]]:
    """Where each x stands, and the marks of the axis: none for numbers, which have their own."""
    if not any(isinstance(x, str) for x in names):
        return {x: float(x) for x in names}, ()
    dates = [_date(x) if isinstance(x, str) else None for x in names]
    known = [date for date in dates if date is not None]
    if len(known) == len(names):
        start = min(known)
        days = {x: (date - start).total_seconds() / 86400 for x, date in zip(names, known, strict=True)}
        return days, _date_marks(start, max(known))
    return {x: float(i) for i, x in enumerate(names)}, tuple(Mark(float(i), str(x)) for i, x in enumerate(names))


def _date_marks(start: datetime.datetime, end: datetime.datetime) -> tuple[Mark, ...]:
    """Round dates between two: years, months over their year, days over theirs, or hours over their day."""
    from matplotlib.dates import AutoDateLocator, date2num, num2date

    locator = AutoDateLocator(minticks=4, maxticks=13)
    zero, last = float(date2num(start)), float(date2num(end))
    found = [float(x) for x in locator.tick_values(start, end) if zero <= x <= last] or [zero]
    dates = [num2date(x).replace(tzinfo=None) for x in found]
    return tuple(Mark(x - zero, *words) for x, words in zip(found, _date_words(dates), strict=True))


def _date_words(dates: Sequence[datetime.datetime]) -> list[tuple[str, str]]:
    """Text and what stands under it, as short as all of them allow."""
    if any(date.hour or date.minute for date in dates):
        return [(f"{date:%H:%M}", f"{date.day} {date:%b %Y}") for date in dates]
    if any(date.day > 1 for date in dates):
        return [(f"{date.day} {date:%b}", f"{date:%Y}") for date in dates]
    if len({date.month for date in dates}) > 1 or len(dates) == 1:
        return [(f"{date:%b}", f"{date:%Y}") for date in dates]
    return [(f"{date:%Y}", "") for date in dates]


def _trace(line: Line, shade: str, places: dict[float | str, float]) -> Trace:
    order = sorted(range(len(line.x)), key=lambda index: places[line.x[index]])

    def sorted_(values: Sequence[float | None]) -> tuple[float | None, ...]:
        kept = [values[index] for index in order] if values else []
        return tuple(None if value is None or not math.isfinite(value) else value for value in kept)

    x = tuple(places[line.x[index]] for index in order)
    return Trace(line.name, shade, x, sorted_(line.y), sorted_(line.low), sorted_(line.high))


def _shades(names: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """A colour for each line: the one by which the page knows it, else one that no other line here has."""
    taken = {known[name] for name in names if name in known}
    free = [shade for shade in SERIES if shade not in taken] or ["s0"]
    others = {name: free[index % len(free)] for index, name in enumerate(name for name in names if name not in known)}
    return {name: known.get(name, others.get(name, "s0")) for name in names}


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
