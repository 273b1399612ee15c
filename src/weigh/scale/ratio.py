"""Duet timing: how many times slower an option is than its baseline, from rounds that time both side by side."""

import math
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from weigh.scale.interval import Floats, Interval, Sequence, checked_values
from weigh.scale.quantile import QuantileSequence


def paired_ratios(x: ArrayLike, y: ArrayLike) -> Floats:
    """`x / y`, round by round.

    Args:
        x: times of the option, shape (rounds,), positive, in any unit.
        y: times of the baseline in the same rounds and the same unit, shape (rounds,).

    Returns: shape (rounds,); below 1 where the option is faster.

    Raises:
        ValueError: lengths differ, or a time is not positive and finite.

    >>> paired_ratios([2.0, 3.0], [4.0, 3.0])
    array([0.5, 1. ])
    """
    above, below = _positive(x), _positive(y)
    if above.shape != below.shape:
        raise ValueError(
            f"{above.size} times of the option and {below.size} of the baseline make no pairs; "
            "time both once in every round, and drop a round from both when one of them failed"
        )
    return above / below


def autocorrelation(x: ArrayLike, lag: int = 1) -> float:
    """Sample autocorrelation of a series, in [-1, 1]; 0.0 for a series that never changes.

    Near zero it speaks for independent rounds. Above about `2 / sqrt(len(x))` neighbouring rounds share a disturbance:
    use `RatioSequence(batch=...)` or put more time between rounds.

    Raises:
        ValueError: `lag` is not positive, or the series has fewer than `lag + 2` values.

    >>> autocorrelation([1, 2, 1, 2, 1, 2])
    -0.8333333333333334
    """
    values = checked_values(x)
    if lag < 1 or values.size < lag + 2:
        raise ValueError(f"lag = {lag} of {values.size} values is not defined; give 1 <= lag <= number of values - 2")
    centred = values - values.mean()
    power = float(centred @ centred)
    return float(centred[lag:] @ centred[:-lag]) / power if power > 0 else 0.0


@final
class RatioSequence(Sequence):
    """Confidence sequence for the median ratio of two times that were measured in the same rounds.

    Whatever slows a machine down in a round slows both, so ratios hold still where times do not; the median is not
    moved by the rounds in which only one of the two was disturbed.

    Args:
        alpha: the chance, at most, that the interval ever leaves out the median ratio.
        batch: how many consecutive rounds are first condensed to their median, an odd number. More than one dampens
            the dependence between neighbouring rounds and leaves the median where it is. Rounds count once their
            batch is full.

    Raises:
        ValueError: `alpha` is not in (0, 1), or `batch` is not a positive odd number.

    Source: Bulej et al., Duet benchmarking, ICPE 2020 (arXiv 2001.05811); the bound is `QuantileSequence(0.5)`.

    >>> slower = RatioSequence(alpha=0.05)
    >>> slower.update(paired_ratios([2.0, 2.2, 9.0, 2.1] * 10, [1.0, 1.1, 1.0, 1.0] * 10))
    >>> now = slower.interval()
    >>> round(now.low, 9), round(now.high, 9), now.n
    (2.0, 2.1, 40)
    """

    def __init__(self, alpha: float, batch: int = 1) -> None:
        if batch < 1 or batch % 2 == 0:
            raise ValueError(f"batch = {batch!r} has no middle round; give a positive odd number, such as 1 or 5")
        self._batch = batch
        self._median = QuantileSequence(0.5, alpha)
        self._waiting: Floats = np.empty(0)

    def update(self, values: ArrayLike) -> None:
        logs = np.concatenate([self._waiting, np.log(_positive(values))])
        whole = logs.size - logs.size % self._batch
        self._median.update(np.median(logs[:whole].reshape(-1, self._batch), axis=1))
        self._waiting = logs[whole:]

    def interval(self) -> Interval:
        logs = self._median.interval()
        per = "" if self._batch == 1 else f"medians of {self._batch} consecutive "
        return Interval(
            low=math.exp(logs.low),
            high=math.exp(logs.high),
            estimate=math.exp(logs.estimate),
            n=logs.n * self._batch,
            alpha=logs.alpha,
            method="median of paired ratios (arXiv 2001.05811), " + logs.method,
            exact=logs.exact,
            assumption=f"{per}ratios, one an interleaved round, are independent with one median",
        )


def _positive(times: ArrayLike) -> Floats:
    values = checked_values(times)
    bad = np.flatnonzero(values <= 0)
    if bad.size:
        first = int(bad[0])
        raise ValueError(f"values[{first}] = {float(values[first])!r} is not positive; times and their ratios are")
    return values
