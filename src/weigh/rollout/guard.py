"""The evidence on one guardrail: request against request, or window against window."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from weigh.choice import Frozen
from weigh.rollout.plan import Guardrail, RolloutPlan
from weigh.scale.bets import Tally
from weigh.scale.paired import Pairs, Wagers
from weigh.scale.series import MeanSeries

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]


class Span(Frozen):
    """An estimate with its interval; None where nothing can be said yet."""

    estimate: float | None = None
    low: float | None = None
    high: float | None = None

    def words(self, unit: str = "") -> str:
        """As it is written.

        >>> Span(estimate=0.00312, low=-0.002, high=0.0081).words(), Span(estimate=2.0).words("ms"), Span().words()
        ('0.00312 [-0.002, 0.0081]', '2 ms (too little for an interval)', 'unknown')
        """
        if self.estimate is None:
            return "unknown"
        of = f" {unit}" if unit else ""
        if self.low is None and self.high is None:
            return f"{self.estimate:.3g}{of} (too little for an interval)"
        ends = ", ".join("?" if one is None else f"{one:.3g}" for one in (self.low, self.high))
        return f"{self.estimate:.3g} [{ends}]{of}"


class Guard(abc.ABC):
    """What is known of one guardrail. Harm is what it bounds from above: a difference, a mean, a share beyond a limit.

    At a share s of the traffic, harm h touches the share s of all requests, so that h s is what all traffic suffers:
    the canary may come to that share once h s is certified to lie within the margin.

    Attributes:
        both: both arms are needed, not the canary alone.
        harm: harm beyond the margin is certified.
    """

    def __init__(self, guardrail: Guardrail, plan: RolloutPlan, alpha: float) -> None:
        self.guardrail, self.plan, self.alpha = guardrail, plan, alpha
        self.metric = plan.metric(guardrail.metric)
        self.bound = guardrail.read(self.metric)
        self.both = bool(self.bound.relative)
        self.sign = 1.0 if self.bound.op == "<=" else -1.0

    @property
    def margin(self) -> float:
        """The harm that is tolerated, in units of the metric: from the baseline's mean, or from the best value."""
        if self.both:
            return self.sign * self.bound.bound
        return self.bound.bound - self.metric.low if self.sign > 0 else self.metric.high - self.bound.bound

    def harms(self, values: Floats) -> Floats:
        """Values, turned so that more is worse; of a limit alone from the best value on."""
        if self.both:
            return self.sign * values
        return values - self.metric.low if self.sign > 0 else self.metric.high - values

    @property
    @abc.abstractmethod
    def harm(self) -> bool:
        """Harm beyond the margin is certified."""

    @abc.abstractmethod
    def against(self) -> float:
        """Log of the largest evidence of harm ever held, or of about that."""

    @abc.abstractmethod
    def certainty(self) -> Floats:
        """Log of the evidence that the canary may have each share of `plan.stages`, shape (stages,)."""

    def safe(self, share: float) -> bool:
        """The canary is certified to do no more harm at that share than is tolerated over all traffic."""
        return bool(self.certainty()[self.plan.stages.index(share)] >= math.log(2.0 / self.plan.alpha))

    @abc.abstractmethod
    def take(self, stage: int, canary: Bools, time: Floats, values: Floats) -> None:
        """Values of one stage in the order in which they came, each of shape (n,)."""

    @abc.abstractmethod
    def span(self) -> Span:
        """What it bounds, with its interval at the plan's alpha, valid at any time."""

    @abc.abstractmethod
    def state(self) -> dict[str, Any]:
        """All that it knows, as JSON has it."""

    @abc.abstractmethod
    def restore(self, state: Mapping[str, Any]) -> None:
        """Know what was known when `state` was taken."""


class RequestGuard(Guard):
    """A mean whose requests are independent: differences of pairs within a stage, or the canary's values alone."""

    def __init__(self, guardrail: Guardrail, plan: RolloutPlan, alpha: float) -> None:
        super().__init__(guardrail, plan, alpha)
        span = self.metric.high - self.metric.low
        self._low, self._high = (-span, span) if self.both else (0.0, span)
        bounds = [(min(self.margin / share, self._high), 1) for share in plan.stages]
        self._wagers = Wagers(self._low, self._high, [(self.margin, 0), *bounds])
        self._pairs: dict[int, Pairs] = {}
        self._tally = Tally()

    @property
    def harm(self) -> bool:
        return bool(self._wagers.peak[0] >= -math.log(self.alpha))

    def against(self) -> float:
        return float(self._wagers.peak[0])

    def certainty(self) -> Floats:
        return self._wagers.peak[1:]

    def take(self, stage: int, canary: Bools, time: Floats, values: Floats) -> None:
        harms = self.harms(values)
        if self.both:
            gaps = self._pairs.setdefault(stage, Pairs()).take(canary, harms)
        else:
            gaps = harms[canary]
        if gaps.size:
            self._wagers.update(gaps)
            self._tally.update(np.clip((gaps - self._low) / (self._high - self._low), 0.0, 1.0))

    def span(self) -> Span:
        if not self._tally.n:
            return Span()
        series = MeanSeries(list, self._low, self._high, None)
        series.tally, series.n = self._tally, self._tally.n
        found = series.interval(self.plan.alpha)
        turned = sorted(self._turned(one) for one in (found.low, found.high))
        return Span(estimate=self._turned(found.estimate), low=turned[0], high=turned[1])

    def _turned(self, harm: float) -> float:
        if self.both:
            return self.sign * harm
        return self.metric.low + harm if self.sign > 0 else self.metric.high - harm

    def state(self) -> dict[str, Any]:
        return {
            "wagers": self._wagers.state(),
            "tally": self._tally.state(),
            "pairs": {str(stage): pairs.state() for stage, pairs in self._pairs.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._wagers.restore(state["wagers"])
        self._tally = Tally.of(state["tally"])
        self._pairs = {int(stage): Pairs.of(pairs) for stage, pairs in state["pairs"].items()}


def guard(guardrail: Guardrail, plan: RolloutPlan, alpha: float) -> Guard:
    """What gathers the evidence on a guardrail; harm that is none is certified with a chance of at most alpha."""
    from weigh.rollout.window_guard import WindowGuard

    return (WindowGuard if guardrail.windowed else RequestGuard)(guardrail, plan, alpha)
