"""The error over time, by a model's age and by the delay of labels, as curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from weigh.choice import Curves, Line
from weigh.retrain.cadence._series import ends_of, within
from weigh.retrain.cadence._walk import Course, follow, losses_on
from weigh.retrain.cadence.never import Never

if TYPE_CHECKING:
    from weigh.retrain.cadence._bench import CadenceBench
    from weigh.retrain.cadence._replay import Replay

AGES = (0, 1, 2, 3, 5, 7, 10, 14, 21, 28, 42, 56, 91, 182)
DELAYS = (0, 1, 3, 7, 14, 28)
MOST_LINES, SMOOTH = 6, 4
Ends: TypeAlias = tuple[float, float | None, float | None]


def error_by_time(bench: CadenceBench, courses: Mapping[str, Course]) -> Curves:
    """Mean loss of each block: frozen, of the cheapest policy, and of the best schedule in hindsight."""
    cheapest = {name: course for name, course in islice(courses.items(), 1) if name != "never"}
    lines = {"never": _never(bench), **cheapest, "(best schedule in hindsight)": bench.best}
    return Curves(
        title="Error over time",
        x=f"start of the block of {bench.task.block_days} days",
        y=f"mean {bench.task.loss}",
        lines=tuple(
            Line(name=name, x=_starts(bench), y=_shares(bench, course.loss, 1)) for name, course in lines.items()
        ),
    )


def error_gained(bench: CadenceBench, courses: Mapping[str, Course]) -> Curves:
    """Mean loss of each policy minus that of never retraining, over some blocks each; the cheapest policies only."""
    frozen = _never(bench).loss
    raced = {name: course for name, course in courses.items() if name != "never"}
    shown = dict(islice(raced.items(), MOST_LINES))
    left = [name for name in raced if name not in shown]
    return Curves(
        title="Error over time, against never retraining",
        x=f"start of the block of {bench.task.block_days} days",
        y=f"mean {bench.task.loss} above that of never",
        lines=tuple(
            Line(name=name, x=_starts(bench), y=_shares(bench, course.loss - frozen)) for name, course in shown.items()
        ),
        note=f"Below 0 it is better to retrain so. Means of {SMOOTH} blocks, the last one at its start; the cheapest "
        f"policies{f' (not drawn: {_listed(left)})' if left else ''}.",
        level=0.0,
    )


def _never(bench: CadenceBench) -> Course:
    return follow(bench.replay, Never().act, bench.seed)


def _starts(bench: CadenceBench) -> tuple[str, ...]:
    return tuple(bench.date_of(index * bench.task.block_days) for index in range(bench.whole))


def _shares(bench: CadenceBench, loss: Any, blocks: int = SMOOTH) -> tuple[float | None, ...]:
    """Mean loss of the rows of each block and those before it, `blocks` in all; None where there are no rows."""
    import numpy as np

    sums = [np.cumsum(bench.by_block(daily)) for daily in (loss, bench.replay.rows)]
    lost, of = (total - np.concatenate([np.zeros(blocks), total])[: len(total)] for total in sums)
    return tuple(float(part / rows) if rows else None for part, rows in zip(lost, of))


def error_by_age(replay: Replay) -> Curves:
    """How much more a model of each age loses than one that was fitted on the same morning, on the same days."""
    ages = [age for age in AGES if replay.days - age >= 40]
    points = [_ageing(replay, age) for age in ages]
    return Curves(
        title="Error by model age",
        x="age of the model, days",
        y="mean loss above that of a model fitted the same morning",
        lines=(_line("all models that could have been fitted", ages, points),),
        note="Each point compares models on the same days. Bands: 95 % moving-block bootstrap over days, in blocks as "
        "long as two such comparisons share what they are made of; none where five of these do not fit.",
    )


def _line(name: str, x: Sequence[int], points: Sequence[Ends]) -> Line:
    middle, low, high = (tuple(point[end] for point in points) for end in range(3))
    return Line(name=name, x=tuple(x), y=middle, low=low, high=high)


def _ageing(replay: Replay, age: int) -> Ends:
    import numpy as np

    days = np.flatnonzero(replay.rows > 0)
    days = days[days >= age]
    table = replay.fitted_by_day
    old, new = (table[made, days + 1] - table[made, days] for made in (days - age, days))
    return within((old - new) / replay.rows[days], max(7, min(age, replay.train_days)))


def error_by_delay(replay: Replay, courses: Mapping[str, Course]) -> Curves:
    """How much more each policy would lose if every label came so many days later, its schedule being the same.

    A model fitted `k` days before holds just the labels that would have arrived, so the shared table has the answer.
    """
    delays = [delay for delay in DELAYS if delay <= replay.days // 4]
    told = {name: _delayed(replay, course, delays) for name, course in courses.items()}
    shown = dict(islice(((name, points) for name, points in told.items() if points), MOST_LINES))
    young = [name for name, points in told.items() if not points]
    left = [name for name, points in told.items() if points and name not in shown]
    return Curves(
        title="Error by label delay",
        x="days that labels come later than they did",
        y="mean loss above that without the delay",
        lines=tuple(_line(name, delays, points) for name, points in shown.items()),
        note=f"On the days whose model was made {delays[-1]} days or more after the start. Bands: 95 % moving-block "
        "bootstrap over days."
        + (f" Too few such days: {_listed(young)}." if young else "")
        + (f" Not drawn, being dearer: {_listed(left)}." if left else ""),
    )


def _delayed(replay: Replay, course: Course, delays: Sequence[int]) -> list[Ends]:
    """Loss above that without delay, a row of the days where all delays can be told; empty when they are too few."""
    import numpy as np

    days = course.made >= delays[-1]
    if days.sum() < max(8, replay.days / 5) or not replay.rows[days].sum():
        return []
    losses = [losses_on(replay, np.maximum(course.made - delay, 0), course.online)[days] for delay in delays]
    return [ends_of((loss - losses[0]) / replay.rows[days].mean(), longest=28) for loss in losses]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
