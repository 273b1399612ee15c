"""Means of bounded values: a betting confidence sequence, with and without replacement."""

from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weigh.scale.interval import Floats, Interval, Sequence, checked_alpha, checked_bounds, checked_values, nested

_CANDIDATES = 96
_CHUNK = 64


def stakes(count: int = 12) -> tuple[Floats, Floats]:
    """The bets that wealth is spread over: fractions of the largest bet that can never go broke, and their weights.

    Fractions halve from 0.98 on: each is best for a gap of one size, so that every gap has a good one. Weights fall
    like 1 / (2 + place), which favours few values and values of low variance.
    """
    place = np.arange(count, dtype=np.float64)
    weights = 1.0 / (2.0 + place)
    return 0.98 * np.exp2(-place), weights / np.sum(weights)


@final
class MeanSequence(Sequence):
    """Confidence sequence for the mean of values in `[low, high]`, by betting against every candidate mean.

    A gambler bets against "the mean is m" with a mixture of fixed bets. If m is the mean, wealth is a non-negative
    martingale, which reaches 2 / alpha with a chance of at most alpha / 2; candidates where it does are left out. One
    gambler bets on a larger mean and gives the lower end, another bets on a smaller mean and gives the upper end: each
    end alone is wrong at most alpha / 2 of the time.

    The log-wealth of each bet is concave in m, and wealth falls in m. Hence ends are rounded outwards to the next
    candidate, and a finer grid, made as the interval shrinks, starts from straight lines between the candidates of
    the old one, which understate wealth. The grid costs a little width, never validity, and no value is kept.

    Along equal values each bet's wealth is an exponential of their number, so the mixture is convex in it and highest
    at an end: a run of equal values (two options that answer alike) costs one step.

    Args:
        alpha: the chance, at most, that the interval ever leaves out the mean.
        low: smallest value possible, in the units of the values.
        high: largest value possible, in the units of the values.
        population: size of the finite population whose mean is asked for and that is drawn from without replacement,
            in random order; None for independent draws. At `n == population` the interval is the mean itself.

    Raises:
        ValueError: `alpha` is not in (0, 1), `[low, high]` is no finite range, or `population` is not positive.

    Source: Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS-B 2024
    (arXiv 2010.09686), with a mixture of bets in place of one plug-in bet.

    >>> correct = MeanSequence(alpha=0.05)
    >>> correct.update([1, 1, 0, 1] * 50)
    >>> now = correct.interval()
    >>> print(f"{now.estimate} in [{now.low:.2f}, {now.high:.2f}]")
    0.75 in [0.64, 0.84]
    """

    def __init__(self, alpha: float, low: float = 0.0, high: float = 1.0, population: int | None = None) -> None:
        self._alpha = checked_alpha(alpha)
        self._low, self._high = checked_bounds(low, high)
        if population is not None and population < 1:
            raise ValueError(
                f"population = {population!r} has no members; give its size, or None for independent draws"
            )
        self._population = population
        self._n, self._epoch_end = 0, 1
        self._ends = (0.0, 1.0)
        self._fractions, weights = stakes()
        # Axis 0 is the side: values and candidates x, then 1 - x, so that both sides look for a lower end.
        self._sums = np.zeros(2)
        self._steps = np.linspace(0.0, 1.0, _CANDIDATES) ** 1.5
        self._points = np.stack([self._steps, self._steps])
        self._wealth = np.tile(weights[:, None], (2, 1, _CANDIDATES))

    def update(self, values: ArrayLike) -> None:
        x = checked_values(values, self._low, self._high)
        left = np.inf if self._population is None else self._population - self._n
        if x.size > left:
            raise ValueError(
                f"{x.size} more values make {self._n + x.size}, but population = {self._population}; "
                "each member is drawn once: pass the true population, or None for independent draws"
            )
        z = (x - self._low) / (self._high - self._low)
        sides = np.stack([z, 1.0 - z], axis=1)
        ends = np.flatnonzero(np.diff(z, append=np.nan)) + 1 if self._population is None else np.arange(1, z.size + 1)
        start = 0
        while start < z.size:
            first = int(np.searchsorted(ends, start, side="right"))
            stop = min(start + self._epoch_end - self._n, int(ends[first : first + _CHUNK][-1]))
            last = int(np.searchsorted(ends, stop))
            self._advance(sides[start:stop], np.append(ends[first:last], stop) - start)
            start = stop

    def interval(self) -> Interval:
        low, high = self._ends
        mean = self._sums[0] / self._n if self._n else np.nan
        if self._n == self._population:
            low = high = mean
        return Interval(
            low=self._in_units(low),
            high=self._in_units(high),
            estimate=self._in_units(min(max(mean, low), high)) if self._n else float("nan"),
            n=self._n,
            alpha=self._alpha,
            method="betting confidence sequence (arXiv 2010.09686)",
            exact=True,
            assumption=self._assumption(),
        )

    def _in_units(self, share: float) -> float:
        return float(min(self._low + (self._high - self._low) * share, self._high))

    def _assumption(self) -> str:
        bounds = f"values lie in [{self._low:g}, {self._high:g}]"
        if self._population is not None:
            return f"{bounds} and are drawn in random order, without replacement, from {self._population} members"
        return f"{bounds} and are independent draws with one mean"

    def _advance(self, sides: Floats, ends: NDArray[np.intp]) -> None:
        """Bet on a few values of one epoch: `sides` has shape (values, 2), `ends` says where runs of equal ones end."""
        sums = np.cumsum(np.concatenate([self._sums[None], sides]), axis=0)
        wealth, peak = self._play(sides[ends - 1], np.diff(ends, prepend=0), sums[:-1])
        reached = peak >= 2.0 / self._alpha
        last = np.maximum(_CANDIDATES - 1 - np.argmax(reached[:, ::-1], axis=1), 0)
        floors = np.where(reached.any(axis=1), self._points[[0, 1], last], self._points[:, 0])
        if self._population is not None:
            floors = np.maximum(floors, sums[-1] * (1 - 1e-12) / self._population)
        low, high = float(floors[0]), 1.0 - float(floors[1])
        if low > high and len(sides) > 1:
            for one in sides:
                self._advance(one[None], np.ones(1, dtype=np.intp))
            return
        self._ends = nested(*self._ends, low, high)
        self._n, self._sums, self._wealth = self._n + len(sides), sums[-1], wealth
        if self._n == self._epoch_end:
            self._epoch_end += 1 + self._n // 8
            self._refine()

    def _play(self, runs: Floats, counts: NDArray[np.intp], before: Floats) -> tuple[Floats, Floats]:
        """Wealth of each bet after the values, and the most that the mixture held on the way, a candidate.

        `runs` holds each run's value, shape (runs, 2), `counts` how often it came, `before` the sums of all values
        before each one, which matter to draws without replacement alone, where each value is a run. Shapes of what is
        returned: (2, bets, candidates) and (2, candidates).
        """
        means = np.broadcast_to(self._points, (len(runs), *self._points.shape))
        if self._population is not None:
            left = self._population - self._n - np.arange(len(runs))
            means = (self._population * self._points - before[:, :, None]) / left[:, None, None]
        largest = np.clip(means[:, :, -1], 1e-6, 1.0)
        bets = self._fractions / largest[:, :, None]
        factors = bets[:, :, :, None] * (runs[:, :, None] - means)[:, :, None, :]
        factors += 1.0
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            if self._population is not None:
                np.maximum(factors, 0.0, out=factors)  # candidates that the draws made impossible lose all
            for i in np.flatnonzero(counts > 1).tolist():
                factors[i] **= counts[i]
            factors[0] *= self._wealth
            for i in range(1, len(factors)):  # nine times faster than np.multiply.accumulate along this axis
                factors[i] *= factors[i - 1]
            held = factors.sum(axis=2)
        return factors[-1], np.fmax.reduce(held, axis=0)

    def _refine(self) -> None:
        """Lay the candidates over what is left of the range; wealth comes from chords, which lie below it."""
        floors = np.array([self._ends[0], 1.0 - self._ends[1]])
        tops = 1.0 - floors[::-1]
        points = floors[:, None] + (tops - floors)[:, None] * self._steps
        with np.errstate(divide="ignore"):
            logs = np.log(np.where(self._wealth > 1e-290, self._wealth, 0.0))
        logs = np.clip(logs, -1e300, 690.0)
        for side in range(2):
            old = self._points[side]
            right = np.clip(np.searchsorted(old, points[side]), 1, _CANDIDATES - 1)
            gap = old[right] - old[right - 1]
            share = np.divide(points[side] - old[right - 1], gap, out=np.ones_like(gap), where=gap > 0).clip(0.0, 1.0)
            self._wealth[side] = np.exp((1.0 - share) * logs[side, :, right - 1].T + share * logs[side, :, right].T)
        self._points = points
