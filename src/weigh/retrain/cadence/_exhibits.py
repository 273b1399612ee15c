"""What people look at: tables of costs and regrets, choosing over time, and curves of the error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from weigh.choice import Exhibit, Table
from weigh.retrain.cadence._curves import error_by_age, error_by_delay, error_by_time, error_gained
from weigh.retrain.cadence._forward import forward_table
from weigh.retrain.cadence._series import ends_of
from weigh.retrain.cadence._walk import Course, follow, unchanged_course
from weigh.retrain.cadence.continuous import Continuous
from weigh.retrain.cadence.never import Never

if TYPE_CHECKING:
    from weigh.retrain.cadence._bench import CadenceBench, Policy

_ENDS = ("low", "high")


def all_of(bench: CadenceBench, policies: Mapping[str, Policy]) -> Sequence[Exhibit]:
    """Every exhibit, the most important first."""
    courses = by_cost(bench, {spec: policy.course for spec, policy in policies.items()})
    return (
        *([regret_table(bench, courses)] if courses else []),
        reference_table(bench, courses),
        *([forward_table(bench, policies)] if policies else []),
        error_by_time(bench, courses),
        *([error_gained(bench, courses)] if set(courses) - {"never"} else []),
        error_by_age(bench.replay),
        *([error_by_delay(bench.replay, courses)] if courses else []),
    )


def by_cost(bench: CadenceBench, courses: Mapping[str, Course]) -> dict[str, Course]:
    """Courses in order of their cost over all whole blocks, the cheapest first."""
    costs = {name: float(bench.by_block(course.cost(bench.prices)).sum()) for name, course in courses.items()}
    return {name: courses[name] for name in sorted(costs, key=lambda name: costs[name])}


def regret_table(bench: CadenceBench, courses: Mapping[str, Course]) -> Table:
    """Cost, error, new models and regret of each policy, with intervals, in the order of `courses`."""
    best = bench.by_block(bench.best.cost(bench.prices))

    def row(name: str, course: Course) -> tuple[str | float | None, ...]:
        regret = (bench.by_block(course.cost(bench.prices)) - best) / bench.task.block_days
        changes = [float(bench.by_block(made).sum()) for made in (course.retrained, course.updated)]
        return (name, *_cost(bench, course), _loss(bench, course), *changes, *ends_of(regret, longest=4))

    loss = f"mean {bench.task.loss}"
    return Table(
        title=f"Every policy on the {bench.whole} replayed blocks of {bench.task.block_days} days",
        columns=("policy", "cost a day", *_ENDS, loss, "retrainings", "updates", "regret a day", *_ENDS),
        rows=tuple(row(name, course) for name, course in courses.items()),
        note=" ".join([_money(bench), _LEGEND, *(f"While fitting: {note}." for note in bench.replay.notes)]),
    )


_LEGEND = (
    "Regret is the cost above that of the best schedule in hindsight, which knows all losses beforehand. "
    "Low and high: 95 % moving-block bootstrap over blocks."
)


def _money(bench: CadenceBench) -> str:
    """Prices, and how money a day becomes the unit of the race."""
    price = bench.prices
    return (
        f"Money as in the task: {price.error:g} an error, {price.retraining:g} a retraining, {price.update:g} an "
        f"incremental update; a cost of 1 a day is {bench.task.block_days / bench.scale:.3g} errors a prediction."
    )


def _cost(bench: CadenceBench, course: Course) -> tuple[float, float | None, float | None]:
    """Money a day, with its interval from whole blocks."""
    return ends_of(bench.by_block(course.cost(bench.prices)) / bench.task.block_days, longest=4)


def _loss(bench: CadenceBench, course: Course) -> float:
    return float(bench.by_block(course.loss).sum() / bench.by_block(bench.replay.rows).sum())


def reference_table(bench: CadenceBench, courses: Mapping[str, Course]) -> Table:
    """What every policy is read against, whatever is raced; `courses` in order of cost."""
    replay = bench.replay
    lines: dict[str, Course | None] = {f"cheapest in hindsight: {name}": courses[name] for name in list(courses)[:1]}
    lines["frozen (never)"] = follow(replay, Never().act, bench.seed)
    online = follow(replay, Continuous().act, bench.seed) if len(replay.online) else None
    lines["online without reset (continuous)"] = online
    lines["no change (the last known label)"] = unchanged_course(replay)
    lines["best schedule in hindsight"] = bench.best
    missing = (None, None, None, None)
    return Table(
        title="What every policy is read against",
        columns=("reference", "cost a day", *_ENDS, f"mean {bench.task.loss}"),
        rows=tuple(
            (name, *((*_cost(bench, course), _loss(bench, course)) if course else missing))
            for name, course in lines.items()
        ),
        note=" ".join([_money(bench), *_learner(bench), "What does not beat 'no change' has learnt nothing."]),
        always=True,
    )


def _learner(bench: CadenceBench) -> list[str]:
    """What the incremental learner is, or why there is none."""
    replay = bench.replay
    is_it = f"The incremental learner is {replay.learner}" if replay.learner else "There is no incremental learner"
    return [f"{is_it}: {replay.refused}." if replay.refused else f"{is_it}."]
