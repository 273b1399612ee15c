"""A ramp, stage by stage, as the judge allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weigh.rollout.plan import RolloutPlan

if TYPE_CHECKING:
    from collections.abc import Callable

    from weigh.serve.rollout import Outcome
    from weigh.serve.rollout._traffic import Seen, Traffic


def judged(traffic: Traffic, plan: RolloutPlan, keep: Callable[[Seen], Seen] | None = None) -> Outcome:
    """Serve with the shares that the judge allows, look at every tick, and end with its verdict.

    Args:
        traffic: one replay.
        plan: what is promised.
        keep: what of the log arrives, all of it when None.
    """
    from weigh.rollout.judge import Judge

    judge, stage = Judge(plan), 0
    while (seen := traffic.serve(plan.shares[stage], plan.shares[stage])) is not None:
        seen = keep(seen) if keep else seen
        judge.add(stage, seen.canary, seen.time, seen.values)
        said = judge.look(words=False)
        if said.verdict != "hold":
            return said.verdict
        stage = said.stage
    return "hold"
