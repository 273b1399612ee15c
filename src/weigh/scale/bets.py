"""Bets on a mean: how much evidence there is that it lies above a bound, or below, kept in a state of constant size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

COUNT = 16
FRACTIONS: Array = 0.98 * 1.6 ** -np.arange(COUNT, dtype=np.float64)
"""The bets, as shares of the largest that can never go broke. One within a factor of 1.27 of the best bet grows at
least 0.94 times as fast as that."""
PRIOR: Array = 1.0 / (2.0 + np.arange(COUNT)) / np.sum(1.0 / (2.0 + np.arange(COUNT)))
"""How wealth is spread over the bets when nothing is known."""

CELLS = 128
_GRID: Array = np.arange(CELLS + 1) / CELLS
_EDGE = 1e-9


class Tally:
    """Values in [0, 1], condensed to what bets against any bound need: a histogram of 129 cells, and three sums.

    Against "the mean is m" a bet multiplies its wealth by 1 + f (z / m - 1) for each value z. If the mean is at most m,
    that is a non-negative supermartingale which starts at 1, and so is a mixture of bets that is fixed beforehand: it
    ever reaches 1 / alpha with a chance of at most alpha. Bets do not change on the way, so the order of independent
    values does not matter, a histogram is enough, and what two workers saw is joined by adding.

    The log of a factor is concave in z: a value between two cells counts for each as near as it lies, and wealth is
    then understated, never overstated. What lies on a cell (0, 1/2 and 1 do) counts exactly.

    Source: Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS-B 2024
    (arXiv 2010.09686), with a mixture of bets.

    >>> heads = Tally()
    >>> heads.update(np.array([1.0, 1.0, 0.0, 1.0] * 25))
    >>> above, below = (mixed(logs) for logs in heads.logs(0.5))
    >>> bool(above > math.log(20)), bool(below > 0)
    (True, False)
    """

    __slots__ = ("counts", "n", "square", "total")

    def __init__(self) -> None:
        self.counts: Array = np.zeros(CELLS + 1)
        self.n, self.total, self.square = 0, 0.0, 0.0

    def update(self, z: Array) -> None:
        """Take values in [0, 1], shape (n,)."""
        place = z * CELLS
        cell = place.astype(np.intp)
        share = place - cell
        if share.any():
            self.counts += np.bincount(cell, 1.0 - share, CELLS + 1)
            self.counts += np.bincount(np.minimum(cell + 1, CELLS), share, CELLS + 1)
        else:
            self.counts += np.bincount(cell, minlength=CELLS + 1)
        self._add(z)

    def _add(self, z: Array) -> None:
        self.n += z.size
        self.total += float(z.sum())
        self.square += float(z @ z)

    def merge(self, other: Tally) -> None:
        """Add what another one saw."""
        self.counts += other.counts
        self.n, self.total, self.square = self.n + other.n, self.total + other.total, self.square + other.square

    def state(self) -> dict[str, Any]:
        """All that it knows, as JSON has it."""
        return {"n": self.n, "total": self.total, "square": self.square, "counts": self.counts.tolist()}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """From `state()`."""
        made = cls()
        made.n, made.total, made.square = int(state["n"]), float(state["total"]), float(state["square"])
        made.counts = np.asarray(state["counts"], dtype=np.float64).reshape(CELLS + 1)
        return made

    def mark(self) -> Any:
        """Where it stands now, for bets that begin here."""
        return self.counts.copy()

    def logs(self, bound: float, since: Any = None) -> Array:
        """Log-wealth of each bet against "the mean is `bound`" since a mark: that it is larger, smaller; (2, COUNT)."""
        return np.stack([self.side(bound, since, side) for side in (0, 1)])

    def side(self, bound: float, since: Any, side: int) -> Array:
        """The same of one side alone, shape (COUNT,)."""
        counts = self.counts if since is None else self.counts - since
        grown: Array = _table(bound)[side] @ counts
        return grown


class Drawn(Tally):
    """The same for draws without replacement from a finite population: what is left changes with every draw.

    Order matters, so that values are kept and nothing can be joined.

    Args:
        population: its size; its mean is what is asked for.
    """

    __slots__ = ("_arrays", "_done", "population")

    def __init__(self, population: int) -> None:
        super().__init__()
        self.population = population
        self._arrays: list[tuple[int, float, Array]] = []
        self._done: dict[tuple[float, int, int], tuple[int, Array]] = {}

    def update(self, z: Array) -> None:
        if self.n + z.size > self.population:
            raise ValueError(
                f"{z.size} more values make {self.n + z.size}, but the population has {self.population} members; "
                "each is drawn once: state the true population, or none for independent draws"
            )
        self._arrays.append((self.n, self.total, z))
        self._add(z)

    def merge(self, other: Tally) -> None:
        raise ValueError("draws without replacement come in one order: two tallies of them cannot be joined")

    def mark(self) -> Any:
        return len(self._arrays)

    def side(self, bound: float, since: Any, side: int) -> Array:
        start = since or 0
        key = (bound, start, side)
        done, logs = self._done.get(key, (start, np.zeros(COUNT)))
        if done < len(self._arrays):
            for n, total, z in self._arrays[done:]:
                logs = logs + self._grown(bound, n, total, z, side)
            if len(self._done) < 64 or key in self._done:
                self._done[key] = (len(self._arrays), logs)
        grown: Array = logs
        return grown

    def _grown(self, bound: float, n: int, total: float, z: Array, side: int) -> Array:
        """Growth over values that came after `n` others with the sum `total`."""
        if side == 1:  # a smaller mean is a larger one of what is left to 1
            bound, total, z = 1.0 - bound, n - total, 1.0 - z
        sums = np.empty(z.size + 1)
        sums[0] = 0.0
        np.cumsum(z, out=sums[1:])
        whole = self.population * bound - total
        means = np.maximum((whole - sums[:-1]) / (self.population - n - np.arange(z.size)), _EDGE)
        ratios = np.maximum(z / means - 1.0, -1.0)
        grown: Array = _log_products(1.0 + FRACTIONS[:, None] * ratios)
        if sums[-1] > whole + 1e-9:  # a sum that the bound makes impossible
            grown += 700.0
        return grown


def _log_products(factors: Array) -> Array:
    """Sums of logs over the last axis, by products of eight: logs are dear. Factors lie between 0.02 and 1e9."""
    whole = factors.shape[-1] // 8 * 8
    products = factors[..., :whole].reshape(*factors.shape[:-1], 8, whole // 8).prod(axis=-2)
    sums: Array = np.log(products).sum(axis=-1) + np.log(factors[..., whole:]).sum(axis=-1)
    return sums


def mixed(logs: Array, prior: Array = PRIOR) -> float:
    """Log of the wealth of a mixture of bets: `log(20)` is as rare as 1 in 20 where the bound is the mean."""
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top) @ prior))


def gap(tally: Tally, bound: float, side: int) -> tuple[float, float]:
    """How far the mean lies beyond the bound (side 0: above it, 1: below), and the variance of one value.

    One adverse value is added to the variance, so that what never varied yet is not taken to be certain.
    """
    n, worst = max(tally.n, 1), 0.0 if side == 0 else 1.0
    mean = tally.total / n
    variance = max((tally.square - n * mean * mean + (worst - mean) ** 2) / (n + 1), 1e-12)
    return (mean - bound) if side == 0 else (bound - mean), variance


def tuned(tally: Tally, bound: float, side: int) -> Array:
    """A mixture for bets that begin now: most of it on the bets that suit what was seen so far, shape (COUNT,)."""
    beyond, variance = gap(tally, bound, side)
    room = max(bound if side == 0 else 1.0 - bound, _EDGE)
    wanted = max(beyond, 1e-6) / (variance + beyond * beyond) * room
    place = int(np.argmin(np.abs(np.log(FRACTIONS / min(max(wanted, FRACTIONS[-1]), FRACTIONS[0])))))
    near: Array = 0.08 * PRIOR
    for step, share in ((0, 0.5), (-1, 0.14), (1, 0.2), (2, 0.08)):
        near[min(max(place + step, 0), COUNT - 1)] += share
    near /= near.sum()
    return near


@lru_cache(maxsize=512)
def _table(bound: float) -> Array:
    """Growth of each bet by a value on each cell, shape (2, COUNT, CELLS + 1)."""
    ratios = np.stack([_GRID / max(bound, _EDGE), (1.0 - _GRID) / max(1.0 - bound, _EDGE)]) - 1.0
    table: Array = np.log1p(FRACTIONS[None, :, None] * ratios[:, None, :])
    return table
