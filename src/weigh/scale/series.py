"""What was measured of one option, or of a pair, as bets read it: a mean or a quantile against any bound."""

from __future__ import annotations

import abc
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple, final

import numpy as np

from weigh.scale.bets import COUNT, PRIOR, Array, Drawn, Tally, gap, mixed, tuned
from weigh.scale.dependence import inflation
from weigh.scale.interval import Interval, checked_values

_BISECTIONS = 26
_LOOKS = sorted({0, *(int(1.1**k) for k in range(200))})
"""Numbers of values at which correlation is estimated anew."""
_CHUNK = 4096
_BEYOND = 700.0


class Account(NamedTuple):
    """A share of the error rate that is bet from a mark on, with a mixture that was fixed there."""

    weight: float
    mark: Any = None
    prior: Array = PRIOR


WHOLE = (Account(1.0),)
"""All of the error rate, from the first value on."""


def order_statistic(values: Array, q: float) -> float:
    """The q-quantile as one of the values, the ceil(n q)-th smallest; shape of `values` (n,)."""
    place = max(math.ceil(values.size * q - 1e-9) - 1, 0)
    return float(np.partition(values, place)[place])


@cache
def fewest(alpha: float) -> int:
    """About how many times it takes until the interval of a median of them has two ends.

    >>> fewest(0.05), fewest(0.005)
    (18, 27)
    """
    rng, count = np.random.default_rng(0), 4
    while True:
        series = QuantileSeries(iter(([rng.random(count)],)).__next__, 0.5, "median")
        series.advance()
        found = series.interval(alpha)
        if found.low > 0 and math.isfinite(found.high):
            return count
        count = math.ceil(1.2 * count)


class Series(abc.ABC):
    """Values as they arrive, and the evidence that their mean or quantile lies above a bound (side 0) or below (1).

    Args:
        unseen: gives the arrays that were not given before.
    """

    method: str
    exact = True

    def __init__(self, unseen: Callable[[], list[Array]]) -> None:
        self._unseen = unseen
        self.n = 0

    def advance(self) -> None:
        """Read what arrived since."""
        if arrays := self._unseen():
            values = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
            for start in range(0, values.size, _CHUNK):  # what fits into a cache is read many times faster
                self._take(values[start : start + _CHUNK])
            self.n += values.size

    def evidence(self, bound: float, side: int, accounts: Sequence[Account] = WHOLE) -> float:
        """Log of the most that an account holds: 1 / alpha comes with a chance of at most alpha if this is false."""
        return max(math.log(one.weight) + self.wealth(bound, side, one) for one in accounts if one.weight > 0)

    def wealth(self, bound: float, side: int, account: Account) -> float:
        """Log of how many times an account has grown."""
        return mixed(self._logs(bound, account.mark, side), account.prior)

    def known(self) -> bool:
        """Every member of a finite population was seen: nothing is left to estimate."""
        return False

    def end(self, side: int, accounts: Sequence[Account], enough: float) -> float:
        """The last bound that the evidence excludes, in the values' units: the lower end (side 0) or the upper one.

        Wealth only falls as the bound comes nearer to the values, so that all bounds beyond are excluded too.
        """
        if not self.n:
            return self._range()[side]
        if self.known():
            return self.estimate()
        inside, outside = self.estimate(), self._range()[side]
        if self.evidence(outside, side, accounts) < enough:
            return self._range()[side]
        for _ in range(_BISECTIONS):
            middle = (inside + outside) / 2
            if self.evidence(middle, side, accounts) >= enough:
                outside = middle
            else:
                inside = middle
        return outside

    def interval(self, alpha: float, lower: Sequence[Account] = WHOLE, upper: Sequence[Account] = WHOLE) -> Interval:
        """The bounds that neither side excludes, each at `alpha / 2`."""
        enough = math.log(2.0 / alpha)
        return Interval(
            low=self.end(0, lower, enough),
            high=self.end(1, upper, enough),
            estimate=self.estimate() if self.n else math.nan,
            n=self.n,
            alpha=alpha,
            method=self.method,
            exact=self.exact,
            assumption=self._assumption(),
        )

    def needed(self, bound: float, side: int, missing: float, hope: float = 0.0) -> float:
        """About how many more values it takes to gain `missing` nats, if the gap is `hope` standard errors larger."""
        beyond, variance = self.gap(bound, side)
        beyond += hope * math.sqrt(variance / (self.n + 1))
        if missing <= 0:
            return 0.0
        if beyond <= 0:
            return self._drawn(math.inf)
        return self._drawn(missing * 2.0 * (variance + beyond * beyond) / (beyond * beyond) * self._slower())

    def likely(self, bound: float, side: int) -> float:
        """A rough chance that the mean lies beyond the bound on that side, for planning only."""
        beyond, variance = self.gap(bound, side)
        return 0.5 * math.erfc(-beyond / math.sqrt(2.0 * variance * self._slower() * self._rest() / (self.n + 1)))

    @abc.abstractmethod
    def estimate(self) -> float:
        """The mean or the quantile of the values so far."""

    @abc.abstractmethod
    def open(self, bound: float, side: int, weight: float) -> Account:
        """An account that bets from now on, with what was learnt so far."""

    @abc.abstractmethod
    def gap(self, bound: float, side: int) -> tuple[float, float]:
        """How far the truth lies beyond the bound on that side, and the variance of one value, in [0, 1]."""

    @abc.abstractmethod
    def _take(self, values: Array) -> None: ...

    @abc.abstractmethod
    def _logs(self, bound: float, mark: Any, side: int) -> Array: ...

    @abc.abstractmethod
    def _range(self) -> tuple[float, float]: ...

    @abc.abstractmethod
    def _assumption(self) -> str: ...

    def _slower(self) -> float:
        return 1.0

    def _rest(self) -> float:
        """The part of a finite population that is not drawn yet."""
        return 1.0

    def _drawn(self, values: float) -> float:
        """How many of a finite population say as much as so many independent values."""
        return values


@final
class MeanSeries(Series):
    """The mean of values in `[low, high]`, drawn independently, or without replacement from `population` members."""

    method = "betting confidence sequence (arXiv 2010.09686)"

    def __init__(self, unseen: Callable[[], list[Array]], low: float, high: float, population: int | None) -> None:
        super().__init__(unseen)
        self._low, self._high, self._population = low, high, population
        self.tally = Tally() if population is None else Drawn(population)

    def estimate(self) -> float:
        return self._low + (self._high - self._low) * self.tally.total / max(self.tally.n, 1)

    def open(self, bound: float, side: int, weight: float) -> Account:
        return Account(weight, self.tally.mark(), tuned(self.tally, self._share(bound), side))

    def gap(self, bound: float, side: int) -> tuple[float, float]:
        return gap(self.tally, self._share(bound), side)

    def known(self) -> bool:
        return self._population is not None and self.n >= self._population

    def _rest(self) -> float:
        return 1.0 if self._population is None else max(1.0 - self.n / self._population, 1e-6)

    def _drawn(self, values: float) -> float:
        if self._population is None:
            return values
        left = max(self._population - self.n, 0)
        return values * left / (values + left) if values < math.inf else float(left)

    def _share(self, bound: float) -> float:
        return (bound - self._low) / (self._high - self._low)

    def _take(self, values: Array) -> None:
        if not (self._low <= values.min() and values.max() <= self._high):
            checked_values(values, self._low, self._high)
        self.tally.update((values - self._low) / (self._high - self._low))

    def _logs(self, bound: float, mark: Any, side: int) -> Array:
        share = self._share(bound)
        if 0.0 <= share <= 1.0:
            return self.tally.side(share, mark, side)
        return np.full(COUNT, _BEYOND if (share < 0.0) == (side == 0) else -_BEYOND)  # no value lies beyond

    def _range(self) -> tuple[float, float]:
        return self._low, self._high

    def _assumption(self) -> str:
        bounds = f"values lie in [{self._low:g}, {self._high:g}]"
        if self._population is not None:
            return f"{bounds} and are drawn in random order, without replacement, from {self._population} members"
        return f"{bounds} and are independent draws with one mean"


@final
class QuantileSeries(Series):
    """A quantile of times or of their paired ratios, which may resemble their neighbours.

    Whether a value lies above the bound is a bet at odds of 1 - q. Log-wealth is divided by the factor by which the
    correlation of neighbours inflates the variance of their share: bets are then as small as for so many fewer values.
    """

    exact = False

    def __init__(self, unseen: Callable[[], list[Array]], q: float, what: str, positive: bool = True) -> None:
        super().__init__(unseen)
        self._q, self._what, self._positive = q, what, positive
        self._values: Array = np.empty(0)
        self._inflation, self._known_at = math.inf, 0
        self.method = f"{what} by order statistics, bets tempered by their autocorrelation (arXiv 1906.09712)"

    def estimate(self) -> float:
        return order_statistic(self._values, self._q)

    def end(self, side: int, accounts: Sequence[Account], enough: float) -> float:
        """One of the values: the last one up to which the evidence excludes all bounds, seen from that side."""
        beyond, ordered = (-math.inf if side == 0 else math.inf), np.sort(self._values)
        if side == 1:
            ordered = ordered[::-1]

        def within(place: int) -> bool:
            return self.evidence(math.nextafter(float(ordered[place]), beyond), side, accounts) < enough

        excluded = bisect_left(range(ordered.size), True, key=within)
        return float(ordered[excluded - 1]) if excluded else self._range()[side]

    def open(self, bound: float, side: int, weight: float) -> Account:
        return Account(weight, self._values.size, tuned(self._tally(bound, 0, side), 1.0 - self._q, side))

    def gap(self, bound: float, side: int) -> tuple[float, float]:
        return gap(self._tally(bound, 0, side), 1.0 - self._q, side)

    def _tally(self, bound: float, start: int, side: int) -> Tally:
        """Whether values lie above the bound; one that equals it speaks for neither side."""
        tally, values = Tally(), self._values[start:]
        over = int(np.count_nonzero(values > bound if side == 0 else values >= bound))
        tally.counts[[0, -1]] = values.size - over, over
        tally.n, tally.total, tally.square = values.size, over, over
        return tally

    def _take(self, values: Array) -> None:
        if np.isnan(values.min()):
            checked_values(values, -math.inf, math.inf)
        self._values = np.concatenate([self._values, values])

    def _logs(self, bound: float, mark: Any, side: int) -> Array:
        return self._tally(bound, mark or 0, side).side(1.0 - self._q, None, side) / self._slower()

    def _slower(self) -> float:
        at = _LOOKS[bisect_right(_LOOKS, self._values.size) - 1]  # of n alone, so that replays agree
        if at != self._known_at:
            head, self._known_at = self._values[:at], at
            self._inflation = inflation(head > order_statistic(head, self._q))
        return self._inflation

    def _range(self) -> tuple[float, float]:
        return (0.0 if self._positive else -math.inf), math.inf

    def _assumption(self) -> str:
        return f"the {self._what} does not change while it is measured; rounds may resemble their neighbours"
