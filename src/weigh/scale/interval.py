"""What every bound of the scale returns (`Interval`) and what every bound that watches data arrive is (`Sequence`)."""

import abc
import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval for one number, in the units of the values that it was made from.

    Attributes:
        low: lower end; `-inf` when nothing is known yet.
        high: upper end; `inf` when nothing is known yet.
        estimate: the point estimate, moved into `[low, high]` where it fell outside; `nan` before any value.
        n: how many values were used.
        alpha: the chance, at most, that the true number is outside.
        method: name of the method and its source.
        exact: True when `alpha` holds for every `n` under `assumption`; False when it holds as `n` grows.
        assumption: what has to be true of the values, as a sentence.

    >>> Interval(0.1, 0.4, 0.2, 50, 0.05, "betting", True, "values are independent").contains(0.3)
    True
    """

    low: float
    high: float
    estimate: float
    n: int
    alpha: float
    method: str
    exact: bool
    assumption: str

    @property
    def width(self) -> float:
        """`high - low`; `inf` while an end is infinite."""
        return self.high - self.low

    def contains(self, x: float) -> bool:
        """Whether `x` lies inside, ends included."""
        return self.low <= x <= self.high


class Sequence(abc.ABC):
    """A confidence sequence: an interval that may be looked at after every value, and acted on at any time.

    The chance that the interval *ever* leaves out the truth, over all times to infinity, is at most alpha. Exact
    intervals are nested: an end never moves outwards. Where values contradict the stated assumption so far that no
    number is left, a mean has an interval of width zero, and a quantile begins anew and is no longer exact.
    """

    @abc.abstractmethod
    def update(self, values: ArrayLike) -> None:
        """Take new values, 1-D and in the order in which they were measured; may be empty.

        The interval depends on the values and their order only, never on how they were cut into calls.

        Raises:
            ValueError: a value is NaN, infinite or out of bounds; nothing of the call is then taken.
        """

    @abc.abstractmethod
    def interval(self) -> Interval:
        """The interval now: the whole range before any value."""


def checked_values(values: ArrayLike, low: float = -math.inf, high: float = math.inf) -> Floats:
    """`values` as a 1-D float array, all finite and within `[low, high]`.

    Raises:
        ValueError: names the first offending value, its position and the bounds.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"values have shape {array.shape}, but one number a block is read; pass a 1-D array")
    bad = np.flatnonzero(~(np.isfinite(array) & (array >= low) & (array <= high)))
    if bad.size:
        first = int(bad[0])
        raise ValueError(
            f"values[{first}] = {float(array[first])!r} is not a finite number in [{low:g}, {high:g}]; "
            "drop or mend it, or state bounds that hold for every value"
        )
    return array


def checked_alpha(alpha: float) -> float:
    """`alpha`, once it is known to be an error rate.

    Raises:
        ValueError: `alpha` is not strictly between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha = {alpha!r} is not an error rate; give a number between 0 and 1, such as 0.05")
    return float(alpha)


def checked_bounds(low: float, high: float, finite: bool = True) -> tuple[float, float]:
    """`(low, high)`, once it is known to be a range.

    Raises:
        ValueError: `low` is not below `high`, or an end is NaN, or (with `finite`) infinite.
    """
    if not low < high or (finite and not math.isfinite(high - low)):
        kind = "finite range" if finite else "range"
        raise ValueError(f"[low, high] = [{low!r}, {high!r}] is no {kind}; give bounds that every value must satisfy")
    return float(low), float(high)


def wilson(count: int, n: int, alpha: float = 0.05) -> tuple[float, float]:
    """The Wilson score interval of a share: `count` of `n`, asymptotic, and in `[0, 1]`.

    Source: Wilson, Journal of the American Statistical Association 22, 1927.

    >>> [round(bound, 4) for bound in wilson(5, 100)]
    [0.0215, 0.1118]
    """
    z = NormalDist().inv_cdf(1.0 - alpha / 2.0)
    middle = (count + z * z / 2) / (n + z * z)
    half = z * math.sqrt(count * (n - count) / n + z * z / 4) / (n + z * z)
    return max(0.0, middle - half), min(1.0, middle + half)


_FARTHEST = 100
"""Times the blocks so far, beyond which how many more would settle it is anybody's guess."""


def more_blocks(blocks: int, interval: Interval, bound: float, slack: float) -> int | None:
    """About how many more blocks until an interval lies on one side of a bound, or within `slack` of it."""
    half = interval.width / 2
    gap = abs(interval.estimate - bound)
    room = max(gap, slack - gap)
    if not (math.isfinite(half) and math.isfinite(room)) or room <= 0 or blocks == 0:
        return None
    more = math.ceil(blocks * (half / room) ** 2) - blocks
    return max(1, more) if more <= _FARTHEST * blocks else None
