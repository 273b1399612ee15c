"""A bandit that sends users where the posterior says they fare better, with a verdict that holds at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from weigh.serve.rollout import Outcome, Release

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.serve.rollout._traffic import Seen, Traffic


class Bandit(Release):
    """Posterior sampling: the new version's share at each tick is the chance that it is the better one, within bounds.

    The verdict comes from the judge, on as many requests of either arm in each tick, drawn at random: shares are fixed
    before a tick, so that bets on pairs within it hold however they move. Good where versions differ much: users leave
    the worse one early. Bad where they hardly do: the share wanders, and the smaller arm says when it ends.

    Source: Thompson, Biometrika 25, 1933; Chapelle and Li, An empirical evaluation of Thompson sampling, NeurIPS 2011;
    Howard, Ramdas, McAuliffe and Sekhon, Annals of Statistics 49, 2021 (bets hold under adaptive shares).
    """

    least: float = Field(0.05, gt=0, le=0.5, description="the smallest share that either version gets")
    draws: int = Field(500, ge=10, description="draws from the posterior a tick")
    seed: int = Field(0, ge=0, description="of the draws")

    def release(self, traffic: Traffic) -> Outcome:
        import numpy as np

        from weigh.rollout.judge import Judge

        plan = traffic.plan.model_copy(update={"stages": (0.5, 1.0)})
        judge, rng, share = Judge(plan), np.random.default_rng([self.seed, traffic.seed]), self.least
        wins = np.ones((2, 2))
        while (seen := traffic.serve(share, 1.0 - share)) is not None:
            even = seen.only(_even(seen.canary, rng))
            judge.add(0, even.canary, even.time, even.values)
            said = judge.look(words=False)
            if said.verdict != "hold":
                return said.verdict
            wins += self._won(traffic, seen)
            baseline, canary = (rng.beta(one[0], one[1], self.draws) for one in wins)
            share = float(np.clip((canary > baseline).mean(), self.least, 1.0 - self.least))
        return "hold"

    def _won(self, traffic: Traffic, seen: Seen) -> NDArray[np.float64]:
        """Successes and failures of either arm in a tick: of the goal's metric, or the first guardrail's, in [0, 1]."""
        import numpy as np

        plan = traffic.plan
        ruling = plan.goal or plan.guardrails[0]
        metric = plan.metric(ruling.metric)
        reward = (seen.values[metric.name] - metric.low) / (metric.high - metric.low)
        if ruling.read(metric).op == "<=":
            reward = 1.0 - reward
        arms = [reward[~seen.canary], reward[seen.canary]]
        return np.array([[one.sum(), one.size - one.sum()] for one in arms])


def _even(canary: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """As many of either arm, the larger one's drawn at random: a mask."""
    import numpy as np

    kept = np.ones(canary.size, dtype=bool)
    larger = canary if canary.sum() * 2 > canary.size else ~canary
    places = np.flatnonzero(larger)
    spare = places.size - (canary.size - places.size)
    kept[rng.permutation(places)[:spare]] = False
    return kept
