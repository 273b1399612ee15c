"""Windows of time, whose neighbours resemble each other: whether their mean lies above or below bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np

from weigh.scale.bets import Array
from weigh.scale.dependence import RunningInflation
from weigh.scale.paired import Wagers

_TIGHTEST_AT = 15.0
_MEMORY = 0.97
"""The largest correlation of neighbouring windows that few windows are believed."""
FEWEST = 32
"""Windows before anything is said."""
_LONG, _SHORT = 1.6, 0.4
"""How many times its memory a series must last before less is assumed of it: by the t-test; by bets, which win little
by any one window."""


@final
class WindowTest:
    """Whether the mean of a series of windows lies above a bound, or below each of several; looked at after each.

    Two kinds of evidence. Sharp where windows are many is the anytime-valid t-test at the number of independent windows
    that say as much as these (`RunningInflation`: batch means that lengthen as the series does), less
    log(1 / alpha) / 2 spreads for what is skewed. A memory that is longer than what was seen cannot be estimated, so
    that it counts as `memory` windows, and as less only as the windows come to many times that. Sharp where windows
    differ much (one in ten is catastrophic) are bets, their log-wealth divided by the inflation (and a little of that).
    `above` takes either, each at half of alpha. `below` takes bets alone: a window may hold the worst that is
    possible, so that catastrophes that were not seen yet are allowed for.

    Args:
        low, high: ends of the range of every window's value.
        harm: the bound that `above` tests.
        safe: the bounds that `below` tests.
        alpha: the chance, about, that `above` ever calls a mean larger that is not.
        memory: how many times the variance of the mean may exceed that of independent windows, before they show it: 39
            for an AR(1) series with coefficient .95.

    Source: Wang and Ramdas, Anytime-valid t-tests and confidence sequences, arXiv 2310.03722 (mixture of Lai, 1976);
    Flyvbjerg and Petersen, 1989 (batch means).
    """

    def __init__(
        self, low: float, high: float, harm: float, safe: Sequence[float], alpha: float, memory: float = 39.0
    ) -> None:
        self._wagers = Wagers(low, high, [(harm, 0), *((bound, 1) for bound in safe)])
        self._inflation = RunningInflation(_MEMORY)
        self.low, self.high, self._harm, self._alpha, self._memory = low, high, harm, alpha, memory
        self._least, self._most = math.inf, -math.inf
        self._total = self._square = 0.0
        self.above = False
        self.below: Array = np.where(np.isinf(self._wagers.peak[1:]), math.inf, 0.0)
        """Log of the largest evidence ever held that the mean lies below each safe bound."""

    @property
    def n(self) -> int:
        """Windows so far."""
        return self._inflation.n

    @property
    def mean(self) -> float:
        """The mean of the windows; NaN before the first."""
        return self._total / self.n if self.n else math.nan

    @property
    def effective(self) -> float:
        """About how many independent windows say as much."""
        return self.n / self._unsure(_LONG) if self.n > 1 else 0.0

    def _unsure(self, times: float) -> float:
        """The inflation, with what too few windows could not show."""
        return self._inflation.value + (self._memory - 1.0) * min(1.0, times * self._memory / self.n)

    def update(self, value: float) -> None:
        """Take the value of one window, in [low, high]."""
        one = np.array([value])
        self._wagers.update(one)
        self._inflation.update(one)
        self._least, self._most = min(self._least, value), max(self._most, value)
        self._total, self._square = self._total + value, self._square + value * value
        if self.n < FEWEST:
            return
        tempered = self._wagers.now(self._unsure(_SHORT))
        self.below = np.maximum(self.below, tempered[1:])
        half = self.half(self._alpha / 2.0)
        self.above = self.above or bool(self.mean - half > self._harm or tempered[0] > math.log(2.0 / self._alpha))

    def against(self) -> float:
        """Log of the evidence now that the mean lies above the harmful bound, by bets; `above` may know more."""
        return float(self._wagers.now(self._unsure(_SHORT))[0]) if self.n >= FEWEST else 0.0

    def half(self, alpha: float) -> float:
        """Half the width of the interval of the mean, of which one side is wrong with a chance of at most alpha."""
        n = self.n
        if n < FEWEST:
            return math.inf
        value = self._unsure(_LONG)
        squared = squared_t(n / value, 2.0 * alpha)
        if not math.isfinite(squared):
            return math.inf
        variance = max(self._square / n - self.mean**2, 0.0) * n / (n - 1)
        return math.sqrt(squared * variance * value / n) + 0.5 * (self._most - self._least) * math.log(1.0 / alpha) / n

    def state(self) -> dict[str, Any]:
        """All that it knows, as JSON has it."""
        return {
            "wagers": self._wagers.state(), "inflation": self._inflation.state(), "above": self.above,
            "sums": [self._total, self._square], "below": [min(float(one), 1e300) for one in self.below],
            "ends": [self._least, self._most] if self.n else None,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Know what was known when `state` was taken."""
        self._wagers.restore(state["wagers"])
        self._inflation = RunningInflation.of(state["inflation"], _MEMORY)
        self.above = bool(state["above"])
        self._total, self._square = (float(one) for one in state["sums"])
        self.below = np.asarray(state["below"], dtype=np.float64).reshape(self.below.shape)
        self._least, self._most = state["ends"] or (math.inf, -math.inf)


def squared_t(n: float, alpha: float) -> float:
    """Square of the t statistic of n independent values that a mixture of t-tests ever reaches with a chance of alpha,
    two-sided; infinite for few values.

    >>> round(squared_t(100.0, 0.05), 1), squared_t(2.0, 0.05)
    (10.6, inf)
    """
    wanted = -2.0 * math.log(alpha)
    prior = 1.0 + n * (wanted + math.log1p(wanted)) / _TIGHTEST_AT
    if n <= 1.0:
        return math.inf
    needed = math.exp(min((wanted + math.log(prior)) / n, 700.0))
    left = 1.0 - needed / prior
    return (needed - 1.0) / left * (n - 1.0) if left > 0 else math.inf
