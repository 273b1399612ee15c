"""Duet timing: how many times slower an option is than its baseline, from rounds that time both side by side."""

import math
from bisect import bisect_left
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from weigh.scale.bets import FRACTIONS, mixed
from weigh.scale.dependence import inflation
from weigh.scale.interval import Floats, Interval, Sequence, checked_alpha, checked_values


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

    Near zero it speaks for independent rounds. Above about `2 / sqrt(len(x))` neighbouring rounds share a disturbance,
    so that they say less than as many independent ones: see `weigh.scale.dependence.inflation`.

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

    Whether a ratio lies above the median is a fair bet. Neighbouring rounds may share what disturbs one side: the
    log-wealth of each bet is divided by the `inflation` of these outcomes, found from the rounds so far, so that bets
    win and lose like those on as many fewer independent rounds. The interval is thus asymptotic, and it is the present
    one, not its intersection with earlier ones.

    Measured on 10,000 paths of AR(1) log-ratios and up to 2,000 rounds, the share in which it ever left out the median
    at alpha 0.05: 0.003 (coefficient 0), 0.008 (0.5), 0.028 (0.8), 0.046 (0.9). Of bets as if rounds were independent:
    0.02, 0.30, 0.86, 0.99 (`make bench-coverage` repeats it). What lasts longer than about a twentieth of all rounds is
    taken for the truth. No bound helps against buffers that happen to lie well for as long as a process lives: load
    both sides anew in each round, and draw the order in which they are timed.

    Args:
        alpha: the chance, about, that the interval ever leaves out the median ratio.

    Raises:
        ValueError: `alpha` is not in (0, 1).

    Source: Bulej et al., Duet benchmarking, ICPE 2020 (arXiv 2001.05811); Howard and Ramdas, Sequential estimation of
    quantiles, Bernoulli 2022 (arXiv 1906.09712), tempered by `weigh.scale.dependence.inflation`.

    >>> slower = RatioSequence(alpha=0.05)
    >>> slower.update(paired_ratios([2.0, 2.2, 9.0, 2.1] * 40, [1.0, 1.1, 1.0, 1.0] * 40))
    >>> now = slower.interval()
    >>> round(now.low, 9), round(now.high, 9), now.n
    (2.0, 2.1, 160)
    """

    def __init__(self, alpha: float) -> None:
        self._alpha = checked_alpha(alpha)
        self._ratios: Floats = np.empty(0)

    def update(self, values: ArrayLike) -> None:
        self._ratios = np.concatenate([self._ratios, _positive(values)])

    def interval(self) -> Interval:
        low, estimate, high = self._ends()
        return Interval(
            low=low,
            high=high,
            estimate=estimate,
            n=self._ratios.size,
            alpha=self._alpha,
            method="median of paired ratios (arXiv 2001.05811), sign bets tempered by their autocorrelation",
            exact=False,
            assumption="the median ratio of interleaved rounds does not change, and what neighbouring rounds share "
            "ends within a twentieth of them",
        )

    def _ends(self) -> tuple[float, float, float]:
        """Lower end, median and upper end."""
        n = self._ratios.size
        if not n:
            return 0.0, math.nan, math.inf
        ordered = np.sort(self._ratios)
        median = float(ordered[(n - 1) // 2])
        outcomes = np.sign(self._ratios - np.median(self._ratios))
        needed = fewest_above(n, self._alpha / 2, inflation(outcomes))
        if needed > n:
            return 0.0, median, math.inf
        return float(ordered[n - needed]), median, float(ordered[needed - 1])


def fewest_above(n: int, alpha: float, inflated: float) -> int:
    """How many of `n` rounds have to lie above a number to disprove that it is the median or more; n + 1 for never.

    Args:
        n: rounds.
        alpha: the chance, about, of ever disproving it wrongly.
        inflated: how many times the variance of the share above exceeds that of independent rounds.
    """
    won, lost, enough = np.log1p(FRACTIONS) / inflated, np.log1p(-FRACTIONS) / inflated, -math.log(alpha)
    return bisect_left(range(n + 1), True, key=lambda above: mixed(above * won + (n - above) * lost) >= enough)


def _positive(times: ArrayLike) -> Floats:
    values = checked_values(times)
    bad = np.flatnonzero(values <= 0)
    if bad.size:
        first = int(bad[0])
        raise ValueError(f"values[{first}] = {float(values[first])!r} is not positive; times and their ratios are")
    return values
