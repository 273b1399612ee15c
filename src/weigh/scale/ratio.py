"""Duet timing: how many times slower an option is than its baseline, from rounds that time both side by side."""

import numpy as np
from numpy.typing import ArrayLike

from weigh.scale.interval import Floats, Interval, checked_alpha, checked_values
from weigh.scale.series import QuantileSeries


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


def median_ratio(x: ArrayLike, y: ArrayLike, alpha: float) -> Interval:
    """The median ratio of two times that were measured in the same rounds, as a race has it.

    Whatever slows a machine down in a round slows both, so ratios hold still where times do not; the median is not
    moved by the rounds in which only one of the two was disturbed. What lasts longer than about a twentieth of all
    rounds is taken for the truth. No bound helps against buffers that happen to lie well for as long as a process
    lives: load both sides anew in each round, and draw the order in which they are timed.

    Args:
        x: times of the option, shape (rounds,), positive, in any unit.
        y: times of the baseline in the same rounds and the same unit, shape (rounds,).
        alpha: the chance, about, that the interval leaves out the median, however often one looks on the way.

    Raises:
        ValueError: lengths differ, a time is not positive and finite, or `alpha` is not in (0, 1).

    Source: Bulej et al., Duet benchmarking, ICPE 2020 (arXiv 2001.05811); `weigh.scale.series.QuantileSeries`.

    >>> slower = median_ratio([2.0, 2.2, 9.0, 2.1] * 40, [1.0, 1.1, 1.0, 1.0] * 40, alpha=0.05)
    >>> round(slower.low, 9), round(slower.high, 9), slower.n
    (2.0, 2.1, 160)
    """
    waiting = [paired_ratios(x, y)]
    series = QuantileSeries(lambda: [waiting.pop()] if waiting else [], 0.5, "median of paired ratios")
    series.advance()
    return series.interval(checked_alpha(alpha))


def _positive(times: ArrayLike) -> Floats:
    values = checked_values(times)
    bad = np.flatnonzero(values <= 0)
    if bad.size:
        first = int(bad[0])
        raise ValueError(f"values[{first}] = {float(values[first])!r} is not positive; times and their ratios are")
    return values
