"""What the race knew, block by block: read again from the evidence at a few dozen blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from weigh.choice import Measure
from weigh.decision import Constraint, Decision, Lock, by_block, feed
from weigh.evidence import Evidence
from weigh.report.canvas import SERIES, Picture, unbroken
from weigh.report.forest import Bound
from weigh.report.lines import Axes, Trace, lines
from weigh.scale.halving import Contest
from weigh.scale.interval import Interval
from weigh.show import ordered

POINTS, LINES, WORK = 50, 6, 40_000
"""Blocks that are read, lines in a picture, and values that the lines of a picture may cost (at least two lines)."""


@dataclass(frozen=True, slots=True)
class _Question:
    """One quantity to follow: what it is of an option, how to draw it, and all that it could be, if that is known."""

    title: str
    axes: Axes
    names: tuple[str, ...]
    of: Callable[[Contest, str], Interval]
    code: str = ""
    span: tuple[float, float] | None = None


def history(key: str, lock: Lock, made: Decision, rows: Sequence[Evidence]) -> list[Picture]:
    """Pictures of the objective, of the winner's lead and of a constraint by block; none for a race of one block."""
    blocks = by_block(row for row in rows if row.block < lock.blocks.race and row.status == "measured")
    raced = sum(bool(standing.measured) for standing in made.standings)
    few = affordable(lock, rows)
    questions = _questions(lock, made, few)
    if len(blocks) < 2 or not questions:
        return []
    traces = _follow(lock, made, list(blocks.items()), questions)
    note = f"The first {few} of {raced} options are followed." if few < raced else ""
    told = [(question, found) for question, found in zip(questions, traces, strict=True) if found]
    pictures = []
    for index, (question, found) in enumerate(told):
        alone = len(told) % 2 == 1 and index == len(told) - 1
        drawn = lines(f"{key}-{index}", question.title, found, _scaled(question.axes, found), wide=alone, note=note)
        pictures.append(replace(drawn, code=unbroken(question.code)))
    return pictures


def palette(lock: Lock, made: Decision) -> dict[str, str]:
    """The colour that tells each option from the others: the first few have one of their own."""
    names = [standing.option for standing in ordered(lock, made)]
    return {name: SERIES[index] if index < len(SERIES) else "s0" for index, name in enumerate(names)}


def affordable(lock: Lock, rows: Sequence[Evidence]) -> int:
    """How many options can be followed without keeping the reader waiting: fewer where each has many values."""
    counts: dict[str, int] = {}
    for row in rows:
        values = max((len(v) for v in row.values.values() if isinstance(v, list)), default=0)
        counts[row.option] = counts.get(row.option, 0) + values
    return max(2, min(LINES, WORK // max([1, *counts.values()])))


def _questions(lock: Lock, made: Decision, most: int = LINES) -> list[_Question]:
    names = tuple(s.option for s in ordered(lock, made) if s.measured)[:most]
    objective = lock.measure(lock.objective)
    found: list[_Question] = []
    constraint = _telling(lock, made)
    same = constraint is not None and not constraint.relative and constraint.measure == objective.name
    if objective.kind != "exact" and not same:
        axes = Axes(
            "blocks measured", f"{head(objective)} ({objective.better} is better)", ratios=objective.compared_by_ratio
        )
        found.append(
            _Question(
                f"{objective.name} by block", axes, names,
                lambda race, name: race.level(name, objective.name), span=_span(objective, False),
            )
        )  # fmt: skip
    if objective.kind != "exact" and made.chosen and len(names) > 1:
        found.append(_lead(lock, made.chosen, tuple(name for name in names if name != made.chosen)))
    return [*found, _limit(lock, constraint, names)] if constraint else found


def _lead(lock: Lock, chosen: str, rivals: tuple[str, ...]) -> _Question:
    objective = lock.measure(lock.objective)
    lead = ", ".join(part for part in ("lead", "share" if objective.compared_by_ratio else objective.unit) if part)
    axes = Axes("blocks measured", f"{lead} (above 0: ahead of the rival)", level=0.0)
    return _Question(
        f"Lead of {chosen} in {objective.name}", axes, rivals,
        lambda race, rival: race.advantage(chosen, rival), span=_span(objective, True),
    )  # fmt: skip


def _span(measure: Measure, compared: bool) -> tuple[float, float] | None:
    """All that the mean of a measure, or the difference of two, could be."""
    width = measure.high - measure.low
    return None if measure.kind != "mean" else (-width, width) if compared else (measure.low, measure.high)


def _telling(lock: Lock, made: Decision) -> Constraint | None:
    """The constraint with an error that excluded most options; the first of them where none did."""
    random = [c for c in lock.constraints if lock.measure(c.measure).kind != "exact"]
    broken = [check.constraint for s in made.standings for check in s.checks if check.met is False]
    return max(random, key=lambda constraint: broken.count(str(constraint)), default=None)


def _limit(lock: Lock, constraint: Constraint, names: tuple[str, ...]) -> _Question:
    limit = constraint.limit()
    shown = tuple(name for name in names if not (constraint.relative and name == lock.baseline))
    measure = lock.measure(constraint.measure)
    axes = Axes(
        "blocks measured", axis(lock, constraint), bound=bound(lock, constraint), ratios=measure.compared_by_ratio
    )
    return _Question(
        f"{constraint.measure} by block", axes, shown, lambda race, name: race.limit_interval(name, limit),
        str(constraint), _span(measure, constraint.relative == "difference"),
    )  # fmt: skip


def head(measure: Measure) -> str:
    """A measure's name with its unit."""
    return f"{measure.name}, {measure.unit}" if measure.unit else measure.name


def bound(lock: Lock, constraint: Constraint) -> Bound:
    """A constraint's bound with its unit; a share and a multiple of the baseline's have none."""
    unit = lock.measure(constraint.measure).unit
    return Bound(constraint.op, constraint.bound, "" if constraint.relative == "ratio" or unit == "share" else unit)


def axis(lock: Lock, constraint: Constraint) -> str:
    """What a constraint bounds, with its unit."""
    measure = lock.measure(constraint.measure)
    if constraint.relative == "difference":
        return f"{measure.name} minus the baseline's" + (f", {measure.unit}" if measure.unit else "")
    if constraint.relative == "ratio":
        return f"{measure.name} as a multiple of the baseline's"
    return head(measure)


def _follow(
    lock: Lock, made: Decision, blocks: list[tuple[int, list[Evidence]]], questions: Sequence[_Question]
) -> list[list[Trace]]:
    """Run the race again, and read the questions at a few dozen blocks."""
    colours, race = palette(lock, made), lock.race()
    stops = _stops(made, len(blocks))
    points: list[dict[str, list[tuple[int, Interval]]]] = [{name: [] for name in q.names} for q in questions]
    for count, (index, group) in enumerate(blocks, 1):
        feed(race, index, group)
        present = {row.option for row in group if row.status == "measured"}
        if count in stops:
            for question, kept in zip(questions, points, strict=True):
                for name in present.intersection(question.names):
                    kept[name].append((count, question.of(race, name)))
    return [
        [
            _trace(name, colours[name], kept[name], name == made.chosen, question.span)
            for name in question.names
            if kept[name]
        ]
        for question, kept in zip(questions, points, strict=True)
    ]


def _stops(made: Decision, count: int) -> set[int]:
    """Which blocks to read at: more of the early ones, where most happens, and those where an option left."""
    spread = {round(math.exp(math.log(count) * step / (POINTS // 2))) for step in range(POINTS // 2 + 1)}
    even = {1 + round((count - 1) * step / (POINTS // 2)) for step in range(POINTS // 2 + 1)}
    left = {s.blocks for s in made.standings if 0 < s.blocks <= count}
    return spread | even | left


def _trace(
    name: str, shade: str, points: Sequence[tuple[int, Interval]], front: bool, span: tuple[float, float] | None
) -> Trace:
    """A line; a band as wide as all that could be says nothing, and is not drawn."""

    def known(values: Sequence[float]) -> tuple[float | None, ...]:
        return tuple(value if math.isfinite(value) else None for value in values)

    bands = [
        (math.nan, math.nan) if span and i.low <= span[0] and i.high >= span[1] else (i.low, i.high) for _, i in points
    ]
    return Trace(
        name, shade, tuple(float(count) for count, _ in points), known([i.estimate for _, i in points]),
        known([low for low, _ in bands]), known([high for _, high in bands]), front,
    )  # fmt: skip


def _scaled(axes: Axes, traces: Sequence[Trace]) -> Axes:
    """A logarithmic axis of blocks where some option left early."""
    ends = [trace.x[-1] for trace in traces]
    if max(ends) < 6 * min(ends):
        return replace(axes, settles=True)
    return replace(axes, x=f"{axes.x} (log scale)", scale="log", settles=True)
