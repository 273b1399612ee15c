"""What people look at: the table of regrets, choosing over time, and error by week, by model age and by label delay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weigh.choice import Curves, Exhibit, Line, Table
from weigh.retrain.cadence._forward import forward_table
from weigh.retrain.cadence._walk import Course, follow, losses_on, unchanged_course
from weigh.retrain.cadence.continuous import Continuous
from weigh.retrain.cadence.never import Never
from weigh.scale.interval import Interval
from weigh.scale.serial import block_bootstrap_interval

if TYPE_CHECKING:
    from weigh.retrain.cadence._bench import CadenceBench, Policy
    from weigh.retrain.cadence._replay import Replay

AGES = (0, 1, 2, 3, 5, 7, 10, 14, 21, 28, 42, 56, 91, 182)
DELAYS = (0, 1, 3, 7, 14, 28)
DRAWS = 500
LEVEL = 0.05


def all_of(bench: CadenceBench, policies: Mapping[str, Policy]) -> Sequence[Exhibit]:
    """Every exhibit, the most important first."""
    courses = {spec: policy.course for spec, policy in policies.items()}
    return (
        regret_table(bench, courses),
        *([forward_table(bench, policies)] if policies else []),
        error_by_time(bench, courses),
        error_by_age(bench.replay),
        error_by_delay(bench.replay, courses),
    )


def references(bench: CadenceBench) -> dict[str, Course]:
    """What every table is read against, raced or not."""
    courses = {"(the best schedule in hindsight)": bench.best}
    courses["(no change: the label that arrived last)"] = unchanged_course(bench.replay)
    courses["(frozen: the first model for ever)"] = follow(bench.replay, Never().act, bench.seed)
    if len(bench.replay.online):
        courses["(online without reset)"] = follow(bench.replay, Continuous().act, bench.seed)
    return courses


def regret_table(bench: CadenceBench, courses: Mapping[str, Course]) -> Table:
    """Cost, error, new models and regret of each policy, with intervals; the cheapest policy first."""
    best = bench.best.cost(bench.prices)
    rows, ends = bench.replay.rows.sum(), ("low", "high")

    def row(name: str, course: Course) -> tuple[str | float | None, ...]:
        cost = course.cost(bench.prices)
        regret = _a_day(bench, cost - best)
        changes = float((course.retrained | course.updated).sum())
        return (name, *_ends(_a_day(bench, cost)), float(course.loss.sum() / rows), changes, *_ends(regret))

    order = sorted(courses, key=lambda name: float(courses[name].cost(bench.prices).sum()))
    raced = [row(name, courses[name]) for name in order]
    others = [row(name, course) for name, course in references(bench).items()]
    return Table(
        title=f"Every policy on the {bench.replay.days} replayed days",
        columns=("policy", "cost a day", *ends, f"mean {bench.task.loss}", "new models", "regret a day", *ends),
        rows=(*raced, *others),
        note=_note(bench),
    )


def _note(bench: CadenceBench) -> str:
    price = bench.prices
    parts = [
        f"Money as in the task: {price.error:g} an error, {price.retraining:g} a retraining, "
        f"{price.update:g} an incremental update.",
        "Regret is the cost above that of the best schedule in hindsight, which knows all losses beforehand.",
        f"Low and high: 95 % moving-block bootstrap over blocks of {bench.task.block_days} days.",
        "A policy that does not beat 'no change' has learnt nothing that yesterday did not say.",
        *(
            []
            if len(bench.replay.online)
            else ["The estimator cannot learn incrementally, so that there is no 'online without reset'."]
        ),
        *(f"While fitting: {note}." for note in bench.replay.notes),
    ]
    return " ".join(parts)


def _a_day(bench: CadenceBench, daily: Any) -> Interval:
    """Mean a day of a daily amount, with its interval from whole blocks."""
    values = bench.by_block(daily) / bench.task.block_days
    return interval_of(values, longest=4)


def interval_of(values: Any, longest: int) -> Interval:
    """The mean of a series with a bootstrap interval; blocks of up to `longest` values, at least eight."""
    block = max(1, min(longest, len(values) // 8))
    return block_bootstrap_interval(values, LEVEL, block, DRAWS)


def _ends(interval: Interval) -> tuple[float, float, float]:
    return interval.estimate, interval.low, interval.high


def error_by_time(bench: CadenceBench, courses: Mapping[str, Course]) -> Curves:
    """Mean loss of each block under each policy."""
    rows = bench.by_block(bench.replay.rows)
    starts = tuple(bench.date_of(index * bench.task.block_days) for index in range(len(rows)))
    lines = {**courses, **{name: course for name, course in references(bench).items() if name[1] in "tn"}}
    return Curves(
        title="Error over time",
        x=f"start of the block of {bench.task.block_days} days",
        y=f"mean {bench.task.loss}",
        lines=tuple(
            Line(name=name, x=starts, y=_shares(bench.by_block(course.loss), rows)) for name, course in lines.items()
        ),
    )


def _shares(loss: Any, rows: Any) -> tuple[float | None, ...]:
    return tuple(float(lost / of) if of else None for lost, of in zip(loss, rows))


def error_by_age(replay: Replay) -> Curves:
    """How much more a model of each age loses than one that was fitted on the same morning, on the same days."""
    points = [(age, _ageing(replay, age)) for age in AGES if replay.days - age >= 5 * 8]
    return Curves(
        title="Error by model age",
        x="age of the model, days",
        y="mean loss above that of a model fitted the same morning",
        lines=(
            Line(
                name="all models that could have been fitted",
                x=tuple(age for age, _ in points),
                y=tuple(interval.estimate for _, interval in points),
                low=tuple(interval.low for _, interval in points),
                high=tuple(interval.high for _, interval in points),
            ),
        ),
        note="Each point compares models on the same days. Bands: 95 % moving-block bootstrap over days.",
    )


def _ageing(replay: Replay, age: int) -> Interval:
    import numpy as np

    days = np.flatnonzero(replay.rows > 0)
    days = days[days >= age]
    table = replay.fitted_by_day
    old, new = (table[made, days + 1] - table[made, days] for made in (days - age, days))
    return interval_of((old - new) / replay.rows[days], longest=14)


def error_by_delay(replay: Replay, courses: Mapping[str, Course]) -> Curves:
    """Error of each policy if every label came so many days later, its schedule being the same.

    A model fitted `k` days before holds just the labels that would have arrived, so the shared table has the answer.
    """
    delays = [delay for delay in DELAYS if delay <= replay.days // 4]
    errors = {name: _delayed(replay, course, delays) for name, course in courses.items()}
    return Curves(
        title="Error by label delay",
        x="days that labels come later than they did",
        y="mean loss",
        lines=tuple(Line(name=name, x=tuple(delays), y=y) for name, y in errors.items() if y),
        note=f"On the days whose model was made {delays[-1]} days or more after the start; policies with few such days "
        "are left out.",
    )


def _delayed(replay: Replay, course: Course, delays: Sequence[int]) -> tuple[float, ...]:
    """Mean loss at each delay, over the days where all of them can be told; empty when there are fewer than a fifth."""
    import numpy as np

    days = course.made >= delays[-1]
    rows = replay.rows[days].sum()
    if days.sum() < replay.days / 5 or not rows:
        return ()
    losses = [losses_on(replay, np.maximum(course.made - delay, 0), course.online)[days].sum() for delay in delays]
    return tuple(float(loss / rows) for loss in losses)
