"""The evidence on the goal: a stratified z up to the horizon, a confidence sequence beyond it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from weigh.rollout.guard import Span
from weigh.rollout.plan import Goal, RolloutPlan
from weigh.scale.paired import Pairs, Wagers
from weigh.scale.spending import look

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]


_APART = 0.75
"""How near the last look may be, of the planned distance: days have more or less traffic, and each should count."""


class GoalTest:
    """Whether the canary betters its goal; each stage is a stratum of its own.

    A ramp is Simpson's paradox where logs are pooled: most of the canary's requests come late, most of the champion's
    early. Here each stage compares only what ran at the same time, and stages are weighted as Cochran, Mantel and
    Haenszel do. The looks up to the horizon spend 1 - reserve of alpha / 2 as O'Brien and Fleming's bounds do; beyond
    it the reserve holds for as long as one likes. Bets on paired differences say when the goal has become worse.

    Source: Cochran, Biometrics 10, 1954; Mantel and Haenszel, 1959; `weigh.scale.spending`.
    """

    def __init__(self, goal: Goal, plan: RolloutPlan, alpha: float) -> None:
        self.goal, self.plan, self.alpha = goal, plan, alpha
        self.metric = plan.metric(goal.metric)
        self.bound = goal.read(self.metric)
        self.sign = 1.0 if self.bound.op == ">=" else -1.0
        self._shift = self.sign * self.bound.bound
        span = self.metric.high - self.metric.low
        self._wagers = Wagers(-span, span, [(self._shift, 1)])
        self._pairs: dict[int, Pairs] = {}
        self._sums: dict[int, Floats] = {}
        self.times: list[float] = []
        self.needed = math.inf
        self.met = False

    def take(self, stage: int, canary: Bools, values: Floats) -> None:
        """Values of one stage in the order in which they came."""
        turned = self.sign * values
        sums = self._sums.setdefault(stage, np.zeros((2, 3)))
        for arm, chosen in enumerate((turned[~canary], turned[canary])):
            sums[arm] += chosen.size, float(chosen.sum()), float(chosen @ chosen)
        gaps = self._pairs.setdefault(stage, Pairs()).take(canary, turned)
        if gaps.size:
            self._wagers.update(gaps)

    @property
    def harm(self) -> bool:
        """The goal is certified to have become worse than it may."""
        return bool(self._wagers.peak[0] >= -math.log(self.alpha))

    @property
    def n(self) -> int:
        """Values of the arm that has fewer."""
        return int(min(sum(sums[arm, 0] for sums in self._sums.values()) for arm in (0, 1))) if self._sums else 0

    def z(self) -> tuple[float, float, float]:
        """z of the difference beyond its bound, the difference, its standard error; turned so that more is better."""
        weights = effect = variance = 0.0
        for sums in self._sums.values():
            n, total, square = sums.T
            if n.min() < 1:
                continue
            weight = n[0] * n[1] / n.sum()
            spread = max(float(square.sum() - total.sum() ** 2 / n.sum()) / max(n.sum() - 1.0, 1.0), 0.0)
            weights += weight
            effect += weight * (total[1] / n[1] - total[0] / n[0])
            variance += weight * spread
        if weights == 0 or variance <= 0:
            return 0.0, math.nan, math.inf
        difference, error = effect / weights, math.sqrt(variance) / weights
        return (difference - self._shift) / error, difference, error

    @property
    def time(self) -> float:
        """Information so far as a share of the planned."""
        weights = sum(n[0] * n[1] / n.sum() for n in (sums[:, 0] for sums in self._sums.values()) if n.min() >= 1)
        return float(weights / (self.plan.horizon / 2.0))

    def look(self) -> None:
        """Look, if a look is due: the planned number of them up to the horizon, always beyond it."""
        time, last = self.time, self.times[-1] if self.times else 0.0
        past = last >= 1.0
        if (
            self.n < self.plan.least
            or time <= last
            or not (past or time >= 1.0 or time - last >= _APART / self.plan.looks)
        ):
            return
        now = look([*self.times, time], self.plan.alpha / 2.0, self.plan.reserve)
        self.needed = now.bound
        self.met = self.met or bool(self.z()[0] >= now.bound)
        if not past:
            self.times.append(time)

    def span(self) -> Span:
        """The difference, canary less baseline, with the interval that the last look allows."""
        _, difference, error = self.z()
        if not math.isfinite(difference):
            return Span()
        ends = sorted((self.sign * (difference - self.needed * error), self.sign * (difference + self.needed * error)))
        known = math.isfinite(self.needed)
        return Span(estimate=self.sign * difference, low=ends[0] if known else None, high=ends[1] if known else None)

    def state(self) -> dict[str, Any]:
        """All that it knows, as JSON has it."""
        return {
            "sums": {str(stage): sums.tolist() for stage, sums in self._sums.items()}, "times": self.times,
            "pairs": {str(stage): pairs.state() for stage, pairs in self._pairs.items()}, "met": self.met,
            "wagers": self._wagers.state(), "needed": self.needed if math.isfinite(self.needed) else None,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Know what was known when `state` was taken."""
        self._sums = {int(stage): np.asarray(sums, dtype=float).reshape(2, 3) for stage, sums in state["sums"].items()}
        self._pairs = {int(stage): Pairs.of(pairs) for stage, pairs in state["pairs"].items()}
        self._wagers.restore(state["wagers"])
        self.times, self.met = [float(one) for one in state["times"]], bool(state["met"])
        self.needed = math.inf if state["needed"] is None else float(state["needed"])
