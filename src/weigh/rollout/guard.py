"""The evidence on one guardrail: request against request, or window against window."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from weigh.choice import Frozen
from weigh.rollout.histogram import Histogram
from weigh.rollout.plan import Guardrail, RolloutPlan
from weigh.scale.bets import Tally
from weigh.scale.paired import Pairs, Wagers
from weigh.scale.series import MeanSeries
from weigh.scale.windows import WindowTest

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

        >>> Span(estimate=0.00312, low=-0.002, high=0.0081).words(), Span().words()
        ('0.00312 [-0.002, 0.0081]', 'unknown')
        """
        if self.estimate is None:
            return "unknown"
        ends = ", ".join("?" if one is None else f"{one:.3g}" for one in (self.low, self.high))
        return f"{self.estimate:.3g} [{ends}]{f' {unit}' if unit else ''}"


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


class WindowGuard(Guard):
    """Whole windows of time against each other: of means their difference; of a quantile the share of slower requests.

    Against a limit that is the share of the canary's requests beyond it, which must be at most 1 - q. Against r times
    the baseline it is the share of the canary's requests beyond r t, less that of the baseline's beyond t, where t is
    the baseline's quantile as known before the window. If the canary is at most r times as slow at every quantile
    (stochastically), that difference is at most 0 whatever t is, and however the load drifts; if q-quantiles alone
    keep to it, it is so as t nears the baseline's quantile.

    Source: Lindon, Sanden and Shirikian, Rapid regression detection in software deployments through sequential testing,
    KDD 2022 (arXiv 2205.14762), which compares the arms' distributions; here in windows, since requests are correlated.
    """

    def __init__(self, guardrail: Guardrail, plan: RolloutPlan, alpha: float) -> None:
        super().__init__(guardrail, plan, alpha)
        self._q = guardrail.quantile
        low, high, harm, safe = self._bounds()
        self._test = WindowTest(low, high, harm, [min(one, high) for one in safe], alpha, self._memory())
        self._key: list[int] = []
        self._sums = np.zeros((2, 2))
        self.seen = (Histogram(), Histogram())
        self._limit: float | None = self.bound.bound if self._q is not None and not self.both else None
        self._known_at = 0

    def _memory(self) -> float:
        return max(self.plan.memory / self.plan.window, 1.0)

    def _bounds(self) -> tuple[float, float, float, list[float]]:
        """Ends of a window's value, tolerated harm, and the harm that each share allows."""
        if self._q is None:
            span = self.metric.high - self.metric.low
            return -span if self.both else 0.0, span, self.margin, [self.margin / share for share in self.plan.stages]
        rest = 1.0 - self._q
        if self.both:
            return -1.0, 1.0, 0.0, [rest * (1.0 / share - 1.0) for share in self.plan.stages]
        return 0.0, 1.0, rest, [rest / share for share in self.plan.stages]

    @property
    def harm(self) -> bool:
        return self._test.above

    def against(self) -> float:
        return self._test.against()

    @property
    def windows(self) -> int:
        """Windows so far."""
        return self._test.n

    def certainty(self) -> Floats:
        return self._test.below

    def take(self, stage: int, canary: Bools, time: Floats, values: Floats) -> None:
        keys = np.maximum.accumulate(np.floor(time / self.plan.window))
        if self._key:  # a clock that goes backwards, or feedback that comes late, adds to the window that is open
            keys, stage = np.maximum(keys, self._key[1]), max(stage, self._key[0])
        starts = np.flatnonzero(np.diff(keys, prepend=math.nan) != 0)
        for start, stop in zip(starts, [*starts[1:], keys.size], strict=True):
            key = [stage, int(keys[start])]
            if key != self._key:
                self._close(moved=bool(self._key) and stage != self._key[0])
                self._key = key
            self._add(canary[start:stop], values[start:stop])

    def _add(self, canary: Bools, values: Floats) -> None:
        for arm, chosen in enumerate((values[~canary], values[canary])):
            if self._q is None:
                counted = self.harms(chosen)
            else:
                self.seen[arm].update(chosen)
                if self._limit is None:
                    continue
                factor = self.bound.bound if self.both and arm else 1.0
                counted = (chosen > factor * self._limit).astype(float)
            self._sums[arm] += counted.size, float(counted.sum())

    def _close(self, moved: bool) -> None:
        """The window is over: its value; then the threshold of those to come.

        One in which an arm served nothing goes on, except where the traffic was moved: what comes then is not
        comparable with it.
        """
        counts, sums = self._sums.T
        whole = bool(counts[1] and (counts[0] or not self.both))
        if whole:
            value = sums[1] / counts[1] - (sums[0] / counts[0] if self.both else 0.0)
            self._test.update(float(value))
        if counts.any() and not (whole or moved):
            return
        self._sums = np.zeros((2, 2))
        baseline = self.seen[0]
        if self._q is not None and self.both and baseline.n >= max(5.0 / (1.0 - self._q), 1.1 * self._known_at):
            self._limit, self._known_at = baseline.quantile(self._q), baseline.n

    def span(self) -> Span:
        if not self._test.n:
            return Span()
        half, mean = self._test.half(self.plan.alpha / 2.0), self._test.mean
        ends = [mean - half, mean + half] if math.isfinite(half) else [None, None]
        turned = [None if one is None else self._turned(one) for one in (mean, *ends)]
        low, high = (turned[1], turned[2]) if self.sign > 0 else (turned[2], turned[1])
        return Span(estimate=turned[0], low=low, high=high)

    def _turned(self, harm: float) -> float:
        if self._q is not None:
            return harm
        if self.both:
            return self.sign * harm
        return self.metric.low + harm if self.sign > 0 else self.metric.high - harm

    def state(self) -> dict[str, Any]:
        return {
            "test": self._test.state(), "key": self._key, "sums": self._sums.tolist(), "limit": self._limit,
            "known_at": self._known_at, "seen": [one.state() for one in self.seen],
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        self._test.restore(state["test"])
        self._key, self._limit, self._known_at = [int(one) for one in state["key"]], state["limit"], state["known_at"]
        self._sums = np.asarray(state["sums"], dtype=np.float64).reshape(2, 2)
        baseline, canary = state["seen"]
        self.seen = Histogram.of(baseline), Histogram.of(canary)


def guard(guardrail: Guardrail, plan: RolloutPlan, alpha: float) -> Guard:
    """What gathers the evidence on a guardrail; harm that is none is certified with a chance of at most alpha."""
    return (WindowGuard if guardrail.windowed else RequestGuard)(guardrail, plan, alpha)
