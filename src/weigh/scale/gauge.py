"""What is measured (`Gauge`) and what it must keep to (`Limit`), as the scale sees them: names and numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Literal

from weigh.scale.interval import Interval, checked_alpha
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


def checked(
    gauges: Many[Gauge],
    limits: Many[Limit],
    alpha: float,
    options: tuple[Many[str], str] | None = None,
    objective: tuple[str, float] | None = None,
) -> None:
    """Raises ValueError where nothing can be judged so; the message says what to state instead.

    Args:
        gauges: the measures.
        limits: the constraints.
        alpha: the error rate.
        options: names, and the baseline.
        objective: its gauge, and the differences in it that do not matter.
    """
    checked_alpha(alpha)
    names = [gauge.name for gauge in gauges]
    for name in (*(limit.gauge for limit in limits), *(objective or ())[:1]):
        if name not in names:
            raise ValueError(f"there is no gauge {name!r}: there are {', '.join(names)}")
    for limit in limits:
        if limit.op not in ("<=", ">=") or not math.isfinite(limit.bound):
            raise ValueError(
                f"{limit.gauge} {limit.op} {limit.bound} bounds nothing: state <= or >= and a finite number"
            )
    if objective and not 0.0 <= objective[1] < math.inf:
        raise ValueError(f"epsilon = {objective[1]} is no size of difference: state a number from 0 on")
    if options:
        _among(*options, any(limit.relative for limit in limits))


def _among(options: Many[str], baseline: str, relative: bool) -> None:
    if not options or len(set(options)) < len(options):
        raise ValueError(f"options are {', '.join(options) or 'none'}: state at least one, and each once")
    if relative and baseline not in options:
        raise ValueError(f"the baseline {baseline!r} is no option: there are {', '.join(options)}")
