"""Choosing on the past and living with it: what each way of choosing a policy would have cost afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from weigh.choice import Table
from weigh.retrain.cadence import Action, CadenceChoice
from weigh.retrain.cadence._walk import Course, Day, follow
from weigh.scale.race import Gauge, Race

if TYPE_CHECKING:
    from weigh.retrain.cadence._bench import CadenceBench, Policy

_ALPHA = 0.05
_ORIGINS = 8


def forward_table(bench: CadenceBench, policies: Mapping[str, Policy]) -> Table:
    """Ways of choosing at the middle of the replay, and their cost in its second half.

    A way of choosing names a policy at each origin; from then on the policy acts on the state that it finds.
    """
    half = bench.whole // 2
    origins = sorted({half + (bench.whole - half) * step // _ORIGINS for step in range(_ORIGINS)})
    costs = {spec: policy.costs for spec, policy in policies.items()}
    lowest = [min(costs, key=lambda spec: float(costs[spec][:origin].sum())) for origin in origins]
    ways = {
        "best on the first half, kept (a naive backtest)": [lowest[0]] * len(origins),
        f"lowest cost so far, chosen again {len(origins)} times": lowest,
        "best on the first half, kept until the evidence excludes it": by_evidence(policies, origins),
    }
    after = {spec: _later(bench, policy.course, half) for spec, policy in policies.items()}
    lived = {name: _later(bench, _lived(bench, policies, origins, chosen), half) for name, chosen in ways.items()}
    rows = [(name, _names(chosen), lived[name]) for name, chosen in ways.items()]
    hindsight = min(after, key=lambda spec: after[spec])
    rows += [("best fixed policy of the second half, in hindsight", hindsight, after[hindsight])]
    rows += [("best schedule in hindsight", "", _later(bench, bench.best, half))]
    return Table(
        title=f"Choosing on the past, living with it: the second half ({bench.whole - half} blocks)",
        columns=("way of choosing", "policies chosen", "cost a day", "above the best fixed policy"),
        rows=tuple((name, chosen, cost, cost - after[hindsight]) for name, chosen, cost in rows),
        note="A policy that was best on the past need not be best afterwards. Each way starts the second half with the "
        "model that its first policy had in service.",
    )


def by_evidence(policies: Mapping[str, Policy], origins: Sequence[int]) -> list[str]:
    """The policy of lowest cost at the first origin, and at later ones, as long as the race has not excluded it."""
    measure = CadenceChoice.measures[0]
    gauge = Gauge("cost", "mean", measure.better, measure.low, measure.high, serial=measure.serial)
    race = Race(list(policies), next(iter(policies)), [gauge], [], "cost", _ALPHA, measure.tolerance)
    chosen: list[str] = []
    for start, origin in zip([0, *origins], origins):
        race.add(origin, {spec: {"cost": policies[spec].costs[start:origin]} for spec in race.runners})
        race.judge(origin)
        live = race.live()
        kept = chosen and chosen[-1] in live
        chosen.append(chosen[-1] if kept else min(live, key=lambda spec: float(policies[spec].costs[:origin].sum())))
    return chosen


def _lived(
    bench: CadenceBench, policies: Mapping[str, Policy], origins: Sequence[int], chosen: Sequence[str]
) -> Course:
    """The course of acting by the policy that was chosen last; before the first origin, by the first choice."""
    acts: list[Callable[[Day], Action]] = [policies[spec].option.act for spec in chosen]
    starts = [origin * bench.task.block_days for origin in origins]

    def act(day: Day) -> Action:
        place = max(sum(start <= day.number for start in starts) - 1, 0)
        return acts[place](day)

    return follow(bench.replay, act, bench.seed)


def _later(bench: CadenceBench, course: Course, half: int) -> float:
    """Cost a day from block `half` on."""
    later = bench.by_block(course.cost(bench.prices))[half:]
    return float(later.mean()) / bench.task.block_days


def _names(chosen: Sequence[str]) -> str:
    return ", then ".join(name for place, name in enumerate(chosen) if place == 0 or name != chosen[place - 1])
