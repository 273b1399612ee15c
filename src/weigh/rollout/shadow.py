"""What shadow logs say of the users: an estimate of a metric under the new version, before anybody meets it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from weigh.choice import Frozen, UsageError
from weigh.rollout.plan import Metric
from weigh.scale.bets import Tally
from weigh.scale.series import MeanSeries

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class Bounds(Frozen):
    """What the metric would be under the new version.

    Attributes:
        low, high: ends between which it lies at the stated alpha, whatever users would have made of the answers that
            differ.
        estimate: if users took answers that differ as they take those that agree; None before any agreement.
        agreement: the share of requests on which both versions answer alike.
        n: requests with an outcome.
    """

    low: float
    high: float
    estimate: float | None
    agreement: float
    n: int


class Counterfactual:
    """A metric as it would be under a version that only answered copies, with an interval that holds at any time.

    Where both versions answered alike, what the user did is what they would have done. Where they differ nobody knows:
    the interval takes the least and the greatest value there. It is as wide as the versions disagree: that is what
    shadow traffic can show, and a canary says the rest.

    Args:
        metric: name and range of the outcome.
        alpha: the chance that the interval ever leaves out the truth.

    Source: Manski, Nonparametric bounds on treatment effects, American Economic Review 80, 1990; betting confidence
    sequences, arXiv 2010.09686.

    >>> shadow = Counterfactual(Metric(name="conversion"), alpha=0.05)
    >>> shadow.add(np.arange(1000) % 50 > 0, np.arange(1000) % 10 == 0)
    >>> found = shadow.bounds()
    >>> round(found.low, 2), round(found.high, 2), round(found.agreement, 2)
    (0.05, 0.14, 0.98)
    """

    def __init__(self, metric: Metric, alpha: float) -> None:
        self.metric, self.alpha = metric, alpha
        self._worst, self._best = Tally(), Tally()
        self._agreed, self._sum, self._n = 0, 0.0, 0

    def add(self, agree: ArrayLike, outcome: ArrayLike) -> None:
        """Requests whose outcome is known: whether both versions answered alike, and what came of it; (n,) each.

        Raises:
            UsageError: an outcome is missing, or out of the metric's range.
        """
        same, values = (
            np.atleast_1d(np.asarray(agree, dtype=bool)),
            np.atleast_1d(np.asarray(outcome, dtype=np.float64)),
        )
        low, high = self.metric.low, self.metric.high
        if same.shape != values.shape or not ((values >= low) & (values <= high)).all():
            raise UsageError(f"{self.metric.name}: give as many outcomes as answers, each in [{low:g}, {high:g}]")
        scaled = (values - low) / (high - low)
        self._worst.update(np.where(same, scaled, 0.0))
        self._best.update(np.where(same, scaled, 1.0))
        self._agreed, self._n = self._agreed + int(same.sum()), self._n + same.size
        self._sum += float(values[same].sum())

    def bounds(self) -> Bounds:
        """What is known now."""
        ends = [self._interval(self._worst).low, self._interval(self._best).high] if self._n else [0.0, 1.0]
        low, high = (self.metric.low + one * (self.metric.high - self.metric.low) for one in ends)
        estimate = self._sum / self._agreed if self._agreed else None
        return Bounds(low=low, high=high, estimate=estimate, agreement=self._agreed / max(self._n, 1), n=self._n)

    def _interval(self, tally: Tally) -> Any:
        series = MeanSeries(list, 0.0, 1.0, None)
        series.tally, series.n = tally, tally.n
        return series.interval(self.alpha)

    def words(self) -> str:
        """The same, in words."""
        found, unit = self.bounds(), f" {self.metric.unit}" if self.metric.unit else ""
        if not found.n or found.estimate is None or not math.isfinite(found.low):
            return f"nothing is known of {self.metric.name} under the new version: no request with an outcome agrees"
        return (
            f"{self.metric.name} under the new version would be {found.estimate:.3g}{unit} if answers that differ were "
            f"taken like others, and lies in [{found.low:.3g}, {found.high:.3g}] however they are taken "
            f"({found.n:,} requests, {found.agreement:.1%} answered alike)"
        )

    def state(self) -> dict[str, Any]:
        """All that it knows, as JSON has it."""
        return {
            "worst": self._worst.state(), "best": self._best.state(), "agreed": self._agreed, "sum": self._sum,
            "n": self._n,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> Self:
        """Know what was known when `state` was taken."""
        self._worst, self._best = Tally.of(state["worst"]), Tally.of(state["best"])
        self._agreed, self._sum, self._n = int(state["agreed"]), float(state["sum"]), int(state["n"])
        return self
