"""Choosing on the past and living with it: what each way of choosing a policy would have cost afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weigh.choice import Table
from weigh.retrain.cadence import Action
from weigh.retrain.cadence._series import ends_of
from weigh.retrain.cadence._walk import Course, Day, follow

if TYPE_CHECKING:
    from weigh.retrain.cadence._bench import CadenceBench, Policy

_ORIGINS = 8
_RECENT_DAYS = 91


def forward_table(bench: CadenceBench, policies: Mapping[str, Policy]) -> Table:
    """Ways of choosing from the middle of the replay on, and their cost in its second half.

    A way of choosing names a policy at each origin, from what came before it alone; from then on the policy acts on the
    state that it finds, up to the next origin.
    """
    half = bench.whole // 2
    origins = sorted({half + (bench.whole - half) * step // _ORIGINS for step in range(_ORIGINS)})
    recent = max(1, _RECENT_DAYS // bench.task.block_days)
    ways = {
        "as here: lowest cost so far": [lowest(policies, 0, origin) for origin in origins],
        f"lowest cost of last {recent} blocks": [lowest(policies, origin - recent, origin) for origin in origins],
        "once, and kept (a backtest)": [lowest(policies, 0, origins[0])] * len(origins),
    }
    later = {spec: _later(bench, policy.course, half) for spec, policy in policies.items()}
    hindsight = min(later, key=lambda spec: float(later[spec].sum()))
    lived = {name: _later(bench, _lived(bench, policies, origins, chosen), half) for name, chosen in ways.items()}
    rows = [_row(name, _names(ways[name]), lived[name], later[hindsight]) for name in ways]
    rows += [("(best fixed policy in hindsight)", hindsight, float(later[hindsight].mean()), 0.0, None, None)]
    best = _later(bench, bench.best, half)
    rows += [_row("(best schedule in hindsight)", "", best, later[hindsight])]
    return Table(
        title=f"Choosing on the past, living with it: the last {bench.whole - half} of {bench.whole} blocks",
        columns=("policy chosen", "policies", "cost a day", "regret a day", "low", "high"),
        rows=tuple(rows),
        note=_note(bench, len(origins)),
        always=True,
    )


def _note(bench: CadenceBench, times: int) -> str:
    return (
        f"Each way but the backtest chooses {times} times, at even distances, by the blocks before alone. Regret is "
        "the cost above that of the one policy which turned out best; in brackets: 95 % moving-block bootstrap. "
        "What was best on the past need not be best afterwards: where choosing again costs less than the backtest, "
        f"decide again that often. Money as in the task: {bench.prices.error:g} an error."
    )


def _row(name: str, chosen: str, cost: Any, best: Any) -> tuple[str | float | None, ...]:
    regret, low, high = ends_of(cost - best, longest=4)
    return name, chosen, float(cost.mean()), regret, low, high


def lowest(policies: Mapping[str, Policy], start: int, end: int) -> str:
    """The policy of lowest cost on some blocks."""
    return min(policies, key=lambda spec: float(policies[spec].costs[max(start, 0) : end].sum()))


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


def _later(bench: CadenceBench, course: Course, half: int) -> Any:
    """Cost a day in each block from block `half` on."""
    return bench.by_block(course.cost(bench.prices))[half:] / bench.task.block_days


def _names(chosen: Sequence[str]) -> str:
    return ", then ".join(name for place, name in enumerate(chosen) if place == 0 or name != chosen[place - 1])
