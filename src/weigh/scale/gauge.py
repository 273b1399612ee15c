"""What is measured (`Gauge`) and what it must keep to (`Limit`), as the scale sees them: names and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from weigh.scale.interval import Interval
from weigh.scale.interval import Sequence as ConfidenceSequence
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

    def ends(self, compared: bool) -> tuple[float, float]:
        """Least and greatest value of a mean, or of the difference of two."""
        span = self.high - self.low
        return (-span, span) if compared else (self.low, self.high)

    def sequence(self, alpha: float, compared: bool) -> ConfidenceSequence:
        """A fresh confidence sequence for the mean of a series over time, or for the paired difference of two."""
        made = BlockBootstrapMean if self.once else SerialMeanSequence
        return made(alpha, *self.ends(compared))


@dataclass(frozen=True, slots=True)
class Limit:
    """A constraint: the value itself, or its difference or ratio to the baseline's, against a bound."""

    gauge: str
    op: Literal["<=", ">="]
    bound: float
    relative: Literal["", "difference", "ratio"] = ""

    def side(self, met: bool) -> int:
        """On which side of the bound the value lies where the limit is met, or broken: 0 above it, 1 below."""
        return int((self.op == "<=") == met)

    def met(self, interval: Interval) -> bool:
        return interval.high <= self.bound if self.op == "<=" else interval.low >= self.bound

    def missed(self, value: float) -> bool:
        return value > self.bound if self.op == "<=" else value < self.bound

    def broken(self, interval: Interval) -> bool:
        return interval.low > self.bound if self.op == "<=" else interval.high < self.bound
