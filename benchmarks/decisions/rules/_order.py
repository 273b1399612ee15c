"""Ratios and differences of two quantiles: from an interval for each, made of order statistics."""

from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions.asked import Array
from weigh.scale.bets import FRACTIONS, mixed
from weigh.scale.gauge import Gauge, Limit


def tested(
    gauge: Gauge, limit: Limit, x: Array, base: Array, enough: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether a relative limit on a quantile is certified as met, and as broken.

    Each needs one end of the option's interval and the other end of the baseline's, half of the error rate each.

    Args:
        x: shape (options, units).
        base: shape (units,).
        enough: minus the log of the error rate of one claim.
    """
    alpha = math.exp(-enough) / 2.0
    low, high = ends(gauge.q, x, alpha)
    (base_low,), (base_high,) = ends(gauge.q, base[None], alpha)
    with np.errstate(divide="ignore", invalid="ignore"):
        if limit.relative == "ratio":
            floor, ceiling = low / base_high, np.where(base_low > 0, high / base_low, np.inf)
        else:
            floor, ceiling = low - base_high, high - base_low
    if limit.op == "<=":
        return ceiling <= limit.bound, floor > limit.bound
    return floor >= limit.bound, ceiling < limit.bound


def worse(gauge: Gauge, leader: Array, x: Array, enough: float) -> NDArray[np.bool_]:
    """Whether the quantile of each row is certified to be worse than the leader's."""
    alpha = math.exp(-enough) / 2.0
    low, high = ends(gauge.q, x, alpha)
    (leader_low,), (leader_high,) = ends(gauge.q, leader[None], alpha)
    return low > leader_high if gauge.better == "lower" else high < leader_low


def ends(q: float, x: Array, alpha: float) -> tuple[Array, Array]:
    """The lower and the upper end of an interval for the q-quantile of each row, each wrong with a chance of alpha.

    They hold at all numbers of values at once.
    """
    n = x.shape[1]
    upper, lower = critical_count(q, n, alpha), n + 1 - critical_count(1.0 - q, n, alpha)
    ranks = [rank - 1 for rank in (lower, upper) if 1 <= rank <= n]
    ordered = np.partition(x, ranks, axis=1) if ranks else x
    low = ordered[:, lower - 1] if lower >= 1 else np.full(len(x), -np.inf)
    high = ordered[:, upper - 1] if upper <= n else np.full(len(x), np.inf)
    return low, high


def critical_count(q: float, n: int, alpha: float) -> int:
    """The least count of successes in n that disproves "a success has probability at most q"; n + 1 for none.

    The test that rejects as soon as a count is reached is wrong with a chance of at most alpha over all n: a mixture
    of bets at the odds of q holds 1 / alpha there.
    """
    won, lost, enough = np.log1p(FRACTIONS * (1.0 / q - 1.0)), np.log1p(-FRACTIONS), -math.log(alpha)
    return bisect_left(range(n + 1), True, key=lambda count: mixed(count * won + (n - count) * lost) >= enough)
