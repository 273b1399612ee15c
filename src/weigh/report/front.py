"""The trade-off: two measures against each other, with intervals, and the options that none beats on both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from weigh.choice import Measure
from weigh.decision import Decision, Estimate, Lock, Standing
from weigh.report.canvas import FONT, NARROW, Key, Picture, Scale, Sheet, colour, mark_labels, round_numbers, text_width
from weigh.report.history import head, palette
from weigh.report.rows import known, measures
from weigh.scale.pareto import certainly_dominated, pareto_front
from weigh.show import ordered

_HEIGHT = 330.0
_AROUND = ((9, -9), (-9, -9), (9, 11), (-9, 11), (0, -15), (0, 18), (17, 0), (-17, 0))
"""Where a number may stand beside its point, in CSS pixels to the right and down, the best place first."""


@dataclass(frozen=True, slots=True)
class _Point:
    name: str
    number: int
    shade: str
    x: Estimate
    y: Estimate
    out: bool
    on_front: bool
    beaten: bool

    @property
    def mark(self) -> Literal["dot", "ring", "cross"]:
        return "cross" if self.out else "dot" if self.on_front else "ring"

    @property
    def middle(self) -> tuple[float, float]:
        return self.x.estimate or 0.0, self.y.estimate or 0.0


def front(key: str, lock: Lock, made: Decision) -> Picture | None:
    """The picture of two measures; None where fewer than two options have both."""
    pair = _pair(lock, made)
    if pair is None:
        return None
    across, up = pair
    points = _points(lock, made, across, up)
    none_meets = all(point.out for point in points)
    legend = tuple(
        Key(point.shade, f"{point.number}  {point.name}{_remark(point, made, none_meets)}", point.mark)
        for point in points
    )
    best = ", ".join(point.name for point in points if point.on_front)
    text = f"{up.name} against {across.name}. On the front, which no option beats on both: {best}."
    of = "the options, each of which breaks a constraint" if none_meets else "the options that break no constraint"
    note = (
        f"Crosses are intervals; one wider than the picture, or not known, is not drawn. The line joins the front: of "
        f"{of}, those that no other beats on both measures, going by the estimates."
    )
    title = f"{up.name} against {across.name}"
    return Picture(title, _sheet(points, across, up).svg(key, title, text), "", legend, note)


def _remark(point: _Point, made: Decision, none_meets: bool) -> str:
    words = ["chosen"] if point.name == made.chosen else []
    words += ["on the front"] if point.on_front else []
    words += ["breaks a constraint"] if point.out and not none_meets else []
    words += ["beaten on both, intervals included"] if point.beaten and not point.out else []
    return f": {', '.join(words)}" if words else ""


def _pair(lock: Lock, made: Decision) -> tuple[Measure, Measure] | None:
    """The measure across and the one upwards: the first pair, of those that matter most, in which options trade.

    The cost and the objective; else what is constrained and the objective; else any two. Of many pairs that one in
    which most options are ordered differently. Where options trade in no pair, the first.
    """
    names = [measure.name for measure in measures(lock)]
    limits = dict.fromkeys(c.measure for c in lock.constraints)
    groups = [
        [(lock.cost, lock.objective)],
        [(name, lock.objective) for name in limits],
        [(across, up) for up, across in combinations(names, 2)],
    ]
    able = [[pair for pair in group if pair[0] != pair[1] and len(_places(made, pair)) > 1] for group in groups]
    found = [max(group, key=lambda pair: _trades(lock, made, pair)) for group in able if group]
    best = next((pair for pair in found if _trades(lock, made, pair)), found[0] if found else None)
    return None if best is None else (lock.measure(best[0]), lock.measure(best[1]))


def _estimate(standing: Standing, name: str) -> float | None:
    measured = standing.measured.get(name)
    return None if measured is None else measured.estimate


def _places(made: Decision, pair: tuple[str, str]) -> list[tuple[float, float]]:
    both = [(_estimate(standing, pair[0]), _estimate(standing, pair[1])) for standing in made.standings]
    return [(x, y) for x, y in both if x is not None and y is not None]


def _trades(lock: Lock, made: Decision, pair: tuple[str, str]) -> int:
    """Pairs of options of which one is better in one measure, and the other in the other."""
    turn = -1 if lock.measure(pair[0]).better != lock.measure(pair[1]).better else 1
    places = combinations(_places(made, pair), 2)
    return sum(turn * (a[0] - b[0]) * (a[1] - b[1]) < 0 for a, b in places)


def _points(lock: Lock, made: Decision, across: Measure, up: Measure) -> list[_Point]:
    colours, better = palette(lock, made), (across.better, up.better)
    found: dict[str, tuple[int, Standing, Estimate, Estimate]] = {}
    for number, standing in enumerate(ordered(lock, made), 1):
        x, y = standing.measured.get(across.name), standing.measured.get(up.name)
        if x and y and x.estimate is not None and y.estimate is not None:
            found[standing.option] = (number, standing, known(across, x), known(up, y))
    able = {name: it for name, it in found.items() if it[1].outcome != "violates"} or found
    best = pareto_front({name: (x.estimate or 0.0, y.estimate or 0.0) for name, (_, _, x, y) in able.items()}, better)
    beaten = certainly_dominated({name: (_ends(x), _ends(y)) for name, (_, _, x, y) in able.items()}, better)
    return [
        _Point(name, number, colours[name], x, y, standing.outcome == "violates", name in best, name in beaten)
        for name, (number, standing, x, y) in found.items()
    ]


def _ends(estimate: Estimate) -> tuple[float, float]:
    low, high = estimate.low, estimate.high
    return (-math.inf if low is None else low, math.inf if high is None else high)


def _sheet(points: Sequence[_Point], across: Measure, up: Measure) -> Sheet:
    x_low, x_high, x_scale = _range([point.x for point in points], across)
    y_low, y_high, y_scale = _range([point.y for point in points], up)
    widest = max(text_width(label, FONT - 1) for label in mark_labels(round_numbers(y_low, y_high, y_scale, 5)) or [""])
    sheet = Sheet(NARROW, _HEIGHT, (widest + 12, 14, 28, 44))
    sheet.numbers("x", x_low, x_high, x_scale)
    sheet.numbers("y", y_low, y_high, y_scale, 5)
    sheet.write(2, 13, f"{head(up)} ({up.better} is better)", shade="muted", size=FONT - 0.5)
    words = f"{head(across)} ({across.better} is better)"
    sheet.write(NARROW / 2, _HEIGHT - 6, words, shade="muted", size=FONT - 0.5, ha="center")
    _join(sheet, points, across)
    for point in points:
        _draw(sheet, point, (x_low, x_high), (y_low, y_high))
    _number(sheet, points)
    return sheet


def _join(sheet: Sheet, points: Sequence[_Point], across: Measure) -> None:
    """The staircase through the front: what lies beyond it, no option reaches."""
    best = sorted(point.middle for point in points if point.on_front)
    where = "steps-post" if across.better == "lower" else "steps-pre"
    x, y = [x for x, _ in best], [y for _, y in best]
    sheet.line(x, y, "muted", drawstyle=where, linewidth=1.2, alpha=0.7)


def _draw(sheet: Sheet, point: _Point, across: tuple[float, float], up: tuple[float, float]) -> None:
    x, y = point.middle
    faint = 0.4 if point.beaten or point.out else 0.9
    for ends, frame, upright in ((_ends(point.x), across, False), (_ends(point.y), up, True)):
        if ends[0] > frame[0] or ends[1] < frame[1]:
            bar, still = [max(ends[0], frame[0]), min(ends[1], frame[1])], [x if upright else y] * 2
            sheet.line(*((still, bar) if upright else (bar, still)), point.shade, linewidth=1.6, alpha=faint)
    sheet.line(
        [x], [y], point.shade, marker="X" if point.out else "o", markersize=9.5, markeredgewidth=1.8,
        markerfacecolor=colour(point.shade if point.on_front else "paper"),
    )  # fmt: skip


def _number(sheet: Sheet, points: Sequence[_Point]) -> None:
    """A number beside each point, where neither a point nor another number is in its way."""
    spots = [sheet.place(*point.middle) for point in points]
    taken = list(spots)
    for point, (x, y) in zip(points, spots, strict=True):
        clear = [(x + dx, y + dy) for dx, dy in _AROUND]
        chosen = max(clear, key=lambda spot: min(min(math.dist(spot, other) for other in taken), 12.0))
        taken.append(chosen)
        sheet.write(*chosen, str(point.number), size=FONT, ha="center", va="center", weight="bold")


def _range(estimates: Sequence[Estimate], measure: Measure) -> tuple[float, float, Scale]:
    """Every estimate, and the intervals as far as they stay in sight of them."""
    middles = [e.estimate for e in estimates if e.estimate is not None]
    low, high = min(middles), max(middles)
    if measure.kind != "mean" and low > 0 and high > 12 * low:
        pad = math.exp(math.log(high / low) * 0.12)
        return low / pad, high * pad, "log"
    span = high - low
    near = [end for e in estimates for end in _ends(e) if low - 0.35 * span <= end <= high + 0.35 * span]
    low, high = min([low, *near]), max([high, *near])
    pad = (high - low) * 0.1 or max(abs(high) * 0.1, 0.5)
    return low - pad, high + pad, "linear"
