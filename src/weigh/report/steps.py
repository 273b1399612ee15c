"""What a heat map shows: the cells, and the steps by which values become colours."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from weigh.report.canvas import round_numbers
from weigh.report.lines import Trace

_COLUMNS = 120
"""Columns that a picture has at most."""
_LADDERS = ((1.25, 1.5, 2), (1.5, 2.5, 5), (2, 5, 10), (3, 10, 30), (10, 100, 1000))
"""Steps above an alarm level, as multiples of it."""


@dataclass(frozen=True, slots=True)
class Steps:
    """Colours of values: `edges` part them, the first and the last step are open; from `pivot` on they are warm."""

    edges: tuple[float, ...]
    pivot: float | None = None

    def of(self, value: float) -> int:
        """Which step a value is on."""
        return bisect_right(self.edges, value)

    def shade(self, step: int) -> tuple[str, float]:
        """A colour of the page and how opaque it is: the further from the pivot, the stronger."""
        if self.pivot is None:
            return "chosen", _strength(step, len(self.edges))
        middle = self.edges.index(self.pivot)
        if step > middle:
            return "violates", _strength(step - middle, len(self.edges) - middle)
        return "chosen", _strength(middle - step, max(middle, len(self.edges) - middle))


def _strength(step: int, most: int) -> float:
    return round(0.1 + 0.9 * step / max(most, 1), 2)


def cells(traces: Sequence[Trace]) -> tuple[list[float], list[list[float | None]], int]:
    """Columns (where each starts), a row of values for each line, and how many values a cell may be the mean of."""
    places = sorted({x for trace in traces for x in trace.x})
    size = math.ceil(len(places) / _COLUMNS)
    column = {x: index // size for index, x in enumerate(places)}
    rows = []
    for trace in traces:
        found: dict[int, list[float]] = {}
        for x, y in zip(trace.x, trace.y, strict=True):
            if y is not None:
                found.setdefault(column[x], []).append(y)
        count = column[places[-1]] + 1
        rows.append([statistics.fmean(found[index]) if index in found else None for index in range(count)])
    return places[::size], rows, size


def reach(traces: Sequence[Trace]) -> tuple[list[float], list[str]]:
    """The values that set the steps, and the lines so far off that they do not."""
    known = {trace.name: [y for y in trace.y if y is not None] for trace in traces}
    middles = {name: statistics.median(values) for name, values in known.items()}
    center = statistics.median(middles.values())
    usual = statistics.median(max(values) - min(values) for values in known.values())
    spread = statistics.median(abs(middle - center) for middle in middles.values())
    near = max(usual, 3 * spread)
    out = [name for name, middle in middles.items() if near and abs(middle - center) > near]
    return [y for name, values in known.items() if name not in out for y in values], out


def steps(values: Sequence[float], level: float | None) -> Steps:
    """Round steps: multiples of an alarm level; without one, between the ends of what most values take.

    >>> steps([0.2, 0.9, 1.4, 8.0], 1.0)
    Steps(edges=(0.5, 1.0, 2.0, 5.0, 10.0), pivot=1.0)
    >>> steps([0.0, 1.0, 2.0, 3.0], None).edges
    (0.5, 1.0, 1.5, 2.0, 2.5)
    """
    ordered = sorted(values)
    if level is not None and level > 0 and ordered[0] >= 0:
        loud = [value / level for value in ordered if value >= level] or [1.0]
        usual = loud[math.ceil(0.9 * (len(loud) - 1))]
        ladder = next((steps for steps in _LADDERS if steps[-1] >= usual), _LADDERS[-1])
        return Steps((level / 2, level, *(level * step for step in ladder)), level)
    cut = len(ordered) // 50
    low, high = ordered[cut], ordered[-1 - cut]
    if level is not None:
        low, high = min(low, level), max(high, level)
    edges = [x for x in round_numbers(low, high, "linear", 8) if low < x < high] or [low]
    pivot = level if level is not None else 0.0 if low < 0 < high else None
    return Steps(tuple(sorted({*edges, pivot} if pivot is not None else edges)), pivot)
