"""Quantiles, such as a p95 latency: a confidence sequence made of order statistics."""

import math
from bisect import bisect_left, insort
from functools import lru_cache
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weigh.scale.interval import Interval, Sequence, checked_alpha, checked_values
from weigh.scale.mean import stakes


def critical_counts(q: float, alpha: float, start: int, stop: int) -> NDArray[np.int64]:
    """Smallest counts of successes that disprove "a success has probability at most q", for n in `[start, stop)`.

    The test that rejects at the first n where the count reaches its entry (n + 1 where none does) is wrong with a
    chance of at most alpha over all n: a mixture of likelihood ratios p against q, over p > q, reaches 1 / alpha there.

    Returns: shape (stop - start,).
    """
    fractions, weights = stakes()
    better = q + (1.0 - q) * fractions
    gain, loss = np.log(better / q), np.log((1.0 - better) / (1.0 - q))
    n = np.arange(start, stop)
    low, high = np.zeros_like(n), n + 1
    while np.any(low < high):
        middle = (low + high) // 2
        logs = np.log(weights) + middle[:, None] * gain + (n - middle)[:, None] * loss
        top = logs.max(axis=1)
        wealth = top + np.log(np.exp(logs - top[:, None]).sum(axis=1))
        enough = (wealth >= -math.log(alpha)) | (middle > n)
        low, high = np.where(enough, low, np.minimum(middle + 1, high)), np.where(enough, middle, high)
    return high


_AGAIN = ", begun anew where the values changed while they were measured"


@lru_cache(maxsize=64)
def _table(q: float, alpha: float, start: int, stop: int) -> tuple[int, ...]:
    return tuple(critical_counts(q, alpha, start, stop).tolist())


@final
class QuantileSequence(Sequence):
    """Confidence sequence for the q-quantile, of any distribution, with ties or without, and with no bounds.

    If x is a q-quantile then at most a share q of values lies below x and at least q at or below it. Each claim is
    tested at alpha / 2 by betting on the count; the points that pass lie between two order statistics. An end is
    infinite until there are enough values: about log(2 / alpha) / -log(q) of them for the upper end.

    Values outside the interval are counted and forgotten, so state grows like the square root of n.

    Values that leave no number at all have no one quantile: they changed while they were measured (a busy machine, a
    warm cache). The sequence then begins anew with the value at hand, and its intervals are no longer `exact`.

    Args:
        q: which quantile, in (0, 1): 0.5 for the median, 0.95 for p95.
        alpha: the chance, at most, that the interval ever leaves out the quantile.

    Raises:
        ValueError: `q` or `alpha` is not in (0, 1).

    Source: Howard and Ramdas, Sequential estimation of quantiles, Bernoulli 2022 (arXiv 1906.09712), with a discrete
    mixture in place of the beta-binomial one.

    >>> latency = QuantileSequence(0.5, alpha=0.05)
    >>> latency.update([12, 15, 11, 13, 12, 95, 12, 14] * 10)
    >>> now = latency.interval()
    >>> now.low, now.estimate, now.high
    (12.0, 12.0, 14.0)
    """

    def __init__(self, q: float, alpha: float) -> None:
        if not 0 < q < 1:
            raise ValueError(f"q = {q!r} is not a quantile level; give a number between 0 and 1, such as 0.95 for p95")
        self._q, self._alpha = float(q), checked_alpha(alpha)
        self._upper: list[int] = []
        self._lower: list[int] = []
        self._moved = False
        self._begin()

    def _begin(self) -> None:
        self._n, self._below, self._keep = 0, 0, 512
        self._kept: list[float] = []
        self._ends = (-math.inf, math.inf)

    def update(self, values: ArrayLike) -> None:
        for x in checked_values(values).tolist():
            self._take(x)

    def interval(self) -> Interval:
        low, high = self._ends
        return Interval(
            low=low,
            high=high,
            estimate=min(max(self._order(math.ceil(self._n * self._q)), low), high) if self._n else math.nan,
            n=self._n,
            alpha=self._alpha,
            method="order-statistic confidence sequence (arXiv 1906.09712)" + (_AGAIN if self._moved else ""),
            exact=not self._moved,
            assumption=f"values are independent draws with one {self._q:g}-quantile",
        )

    def _take(self, x: float) -> None:
        self._n += 1
        low, high = self._ends
        if x < low:
            self._below += 1
        elif x <= high:
            insort(self._kept, x)
        if self._n > len(self._upper):
            self._extend()
        new_low = self._order(self._n + 1 - self._lower[self._n - 1])
        new_high = self._order(self._upper[self._n - 1])
        if max(low, new_low) > min(high, new_high):
            self._moved = True
            self._begin()
            self._take(x)
            return
        self._ends = max(low, new_low), min(high, new_high)
        if len(self._kept) > self._keep:
            self._forget()

    def _order(self, rank: int) -> float:
        """The value of that rank, from 1; minus or plus infinity where it lies outside what is kept."""
        place = rank - self._below - 1
        if place < 0:
            return -math.inf
        return self._kept[place] if place < len(self._kept) else math.inf

    def _extend(self) -> None:
        """Critical counts for twice as many values as before."""
        start = len(self._upper) + 1
        stop = 2 * max(start, 128)
        self._upper += _table(self._q, self._alpha / 2, start, stop)
        self._lower += _table(1.0 - self._q, self._alpha / 2, start, stop)

    def _forget(self) -> None:
        first = bisect_left(self._kept, self._ends[0])
        self._below += first
        self._kept = [x for x in self._kept[first:] if x <= self._ends[1]]
        self._keep = max(512, 2 * len(self._kept))
