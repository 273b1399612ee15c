"""What is measured (`Gauge`) and what it must keep to (`Limit`), as the scale sees them: names and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from weigh.scale.interval import Interval
from weigh.scale.interval import Sequence as ConfidenceSequence
from weigh.scale.mean import MeanSequence
from weigh.scale.quantile import QuantileSequence
from weigh.scale.serial import BlockBootstrapMean, SerialMeanSequence


@dataclass(frozen=True, slots=True)
class Gauge:
    """One measure as the scale sees it; see `weigh.choice.Measure` for the kinds.

    `once` says that the values are looked at one time only, when all are there: a bound for correlated values need
    then not hold at all times at once.
    """

    name: str
    kind: Literal["exact", "mean", "quantile", "time"]
    better: Literal["lower", "higher"]
    low: float = 0.0
    high: float = 1.0
    q: float = 0.5
    serial: bool = False
    population: int | None = None
    once: bool = False

    @property
    def compared_by_ratio(self) -> bool:
        return self.kind in ("time", "quantile")

    def level(self, alpha: float) -> ConfidenceSequence:
        """A fresh confidence sequence for the value itself."""
        if self.kind == "mean":
            return self._mean(alpha, self.low, self.high)
        return QuantileSequence(self.q if self.kind == "quantile" else 0.5, alpha)

    def difference(self, alpha: float) -> ConfidenceSequence:
        """A fresh confidence sequence for the paired difference of two options."""
        span = self.high - self.low
        return self._mean(alpha, -span, span)

    def _mean(self, alpha: float, low: float, high: float) -> ConfidenceSequence:
        if self.serial:
            return BlockBootstrapMean(alpha, low, high) if self.once else SerialMeanSequence(alpha, low, high)
        return MeanSequence(alpha, low, high, population=self.population)


@dataclass(frozen=True, slots=True)
class Limit:
    """A constraint: the value itself, or its difference or ratio to the baseline's, against a bound."""

    gauge: str
    op: Literal["<=", ">="]
    bound: float
    relative: Literal["", "difference", "ratio"] = ""

    def met(self, interval: Interval) -> bool:
        return interval.high <= self.bound if self.op == "<=" else interval.low >= self.bound

    def missed(self, value: float) -> bool:
        return value > self.bound if self.op == "<=" else value < self.bound

    def broken(self, interval: Interval) -> bool:
        return interval.low > self.bound if self.op == "<=" else interval.high < self.bound
