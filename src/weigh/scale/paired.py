"""Two arms that run side by side: their values in pairs, and bets on the differences that are looked at after each."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from weigh.scale.bets import COUNT, FRACTIONS, PRIOR, Array

MOST_WAITING = 512
"""Values of one arm that wait for a partner of the other; an older one is let go."""
_CHUNK = 2048
_EDGE = 1e-9
_LOG_PRIOR = np.log(PRIOR)


@final
class Pairs:
    """Sets the i-th value of one arm against the i-th of the other: differences, canary less baseline.

    Where both arms get the same share at the same time, as here, partners come at nearly the same time, so that
    whatever moves both arms cancels. How the values are cut into calls does not matter. What is kept is bounded: of
    an arm that runs ahead by more than `MOST_WAITING` values the oldest go.

    >>> pairs = Pairs()
    >>> pairs.take(np.array([True, True, False]), np.array([1.0, 0.0, 1.0])).tolist(), pairs.waiting
    ([0.0], [0.0])
    """

    def __init__(self) -> None:
        self.waiting: list[float] = []
        self._canary = False

    def take(self, canary: NDArray[np.bool_], values: Array) -> Array:
        """Take values of either arm in the order in which they came, shape (n,); the differences that this completes.

        Args:
            canary: whether a value is the canary's (else the baseline's), shape (n,).
            values: shape (n,).
        """
        ahead = (len(self.waiting) if self._canary else -len(self.waiting)) + np.cumsum(np.where(canary, 1, -1))
        if ahead.size and int(np.abs(ahead).max()) > MOST_WAITING:
            return self._one_by_one(canary, values)
        mine, theirs = values[canary], values[~canary]
        if self._canary:
            mine = np.concatenate([self.waiting, mine])
        else:
            theirs = np.concatenate([self.waiting, theirs])
        count = min(mine.size, theirs.size)
        self._canary = mine.size > count
        self.waiting = (mine if self._canary else theirs)[count:].tolist()
        gaps: Array = mine[:count] - theirs[:count]
        return gaps

    def _one_by_one(self, canary: NDArray[np.bool_], values: Array) -> Array:
        """The same where one arm runs so far ahead that its oldest values go."""
        waiting, gaps = deque(self.waiting, maxlen=MOST_WAITING), []
        for mine, value in zip(canary.tolist(), values.tolist(), strict=True):
            if waiting and mine != self._canary:
                other = waiting.popleft()
                gaps.append(value - other if mine else other - value)
            else:
                self._canary = mine
                waiting.append(value)
        self.waiting = list(waiting)
        return np.array(gaps, dtype=np.float64)

    def state(self) -> list[Any]:
        """All that it knows, as JSON has it."""
        return [self._canary, self.waiting]

    @classmethod
    def of(cls, state: Sequence[Any]) -> Self:
        """From `state()`."""
        made = cls()
        made._canary, made.waiting = bool(state[0]), [float(one) for one in state[1]]
        if len(made.waiting) > MOST_WAITING:
            raise ValueError(f"{len(made.waiting)} values wait, where at most {MOST_WAITING} can")
        return made


@final
class Wagers:
    """Bets that the mean of values lies above, or below, each of several bounds; looked at after every value.

    Against a bound m the wealth of a bet is multiplied by 1 + f (z / m - 1) for each value z, scaled into [0, 1]. Where
    the mean of each value, given those before, is at most m, this is a non-negative supermartingale, and so is a
    mixture of such bets: it ever reaches 1 / alpha with a chance of at most alpha, however the values drift. What is
    kept is 16 numbers a bound and the largest wealth ever held, which is as if one had looked after each value.

    Args:
        low, high: ends of the range of every value.
        bounds: (bound, side) pairs: side 0 bets that the mean lies above the bound, 1 below it.

    Source: Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS-B 2024
    (arXiv 2010.09686), section 4, with a mixture of bets; Ville, 1939.

    >>> worse = Wagers(-1.0, 1.0, [(0.005, 0), (0.1, 1)])
    >>> worse.update(np.array([0.0, 1.0, 0.0, 0.0] * 50))
    >>> (worse.peak > math.log(20)).tolist()
    [True, False]
    """

    def __init__(self, low: float, high: float, bounds: Sequence[tuple[float, int]]) -> None:
        self.low, self.high, self.bounds = low, high, tuple(bounds)
        scaled = np.array([(bound - low) / (high - low) for bound, _ in bounds])
        self._sides = np.array([side for _, side in bounds])
        self._means = np.clip(np.where(self._sides == 0, scaled, 1.0 - scaled), _EDGE, None)[:, None]
        self.logs: Array = np.zeros((len(bounds), COUNT))
        self.peak: Array = np.where((self._sides == 1) & (scaled >= 1.0), math.inf, 0.0)
        self.n = 0

    def update(self, values: Array) -> None:
        """Take values in [low, high], shape (n,), in order; how they are cut into calls does not matter."""
        for start in range(0, values.size, _CHUNK):
            self._take((values[start : start + _CHUNK] - self.low) / (self.high - self.low))

    def _take(self, z: Array) -> None:
        sided = np.where(self._sides[:, None] == 0, z, 1.0 - z)
        ratios = np.maximum(sided / self._means - 1.0, -1.0)
        steps = np.log1p(FRACTIONS[None, :, None] * ratios[:, None, :])
        steps[:, :, 0] += self.logs
        path = np.cumsum(steps, axis=2)
        self.logs = path[:, :, -1].copy()
        path += _LOG_PRIOR[:, None]
        top = path.max(axis=1)
        np.exp(np.subtract(path, top[:, None, :], out=path), out=path)
        self.peak = np.maximum(self.peak, (top + np.log(path.sum(axis=1))).max(axis=1))
        self.n += z.size

    def now(self, tempered: float = 1.0) -> Array:
        """Log-wealth now, shape (bounds,), each bet's divided by `tempered` beforehand."""
        path = self.logs / tempered + _LOG_PRIOR
        top = path.max(axis=1, keepdims=True)
        wealth: Array = (top + np.log(np.exp(path - top).sum(axis=1, keepdims=True)))[:, 0]
        return wealth

    def state(self) -> dict[str, Any]:
        """All that it knows, as JSON has it."""
        return {"n": self.n, "logs": self.logs.tolist(), "peak": [min(float(one), 1e300) for one in self.peak]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Know what was known when `state` was taken.

        Raises:
            ValueError: it is of other bounds.
        """
        self.logs = np.asarray(state["logs"], dtype=np.float64).reshape(self.logs.shape)
        self.peak = np.asarray(state["peak"], dtype=np.float64).reshape(self.peak.shape)
        self.n = int(state["n"])
