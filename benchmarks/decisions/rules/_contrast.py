"""Limits and comparisons as means of values in [0, 1], so that one test serves them all."""

from __future__ import annotations

import numpy as np

from benchmarks.decisions.asked import Array
from weigh.scale.gauge import Gauge, Limit


def is_mean(gauge: Gauge, limit: Limit) -> bool:
    """Whether a limit bounds the mean of something; the ratio or difference of two quantiles is none."""
    return gauge.kind != "quantile" or not limit.relative


def of_limit(gauge: Gauge, limit: Limit, x: Array, base: Array) -> tuple[Array, float]:
    """Values z and a bound m: the limit is met if the mean of z is at least m, and broken if it is less.

    A mean against its bound is itself, moved into [0, 1]; a difference of two means that of the paired differences; a
    ratio `x / base <= r` the mean of `x - r base` against 0. A quantile keeps to a bound if at least a share q of the
    values does; so does the median of paired ratios of times.

    Args:
        x: values of options, shape (options, units).
        base: of the baseline on the same units, shape (units,).

    Returns: z, shape (options, units), and m.
    """
    if gauge.kind == "mean":
        z, bound = _of_mean(gauge, limit, x, base)
        return (z, bound) if limit.op == ">=" else (1.0 - z, 1.0 - bound)
    if limit.relative:
        x = x / base if limit.relative == "ratio" else x - base
    q = gauge.q if gauge.kind == "quantile" else 0.5
    if limit.op == "<=":
        return (x <= limit.bound).astype(np.float64), q
    return (x >= limit.bound).astype(np.float64), 1.0 - q


def _of_mean(gauge: Gauge, limit: Limit, x: Array, base: Array) -> tuple[Array, float]:
    low, high, bound = gauge.low, gauge.high, limit.bound
    if limit.relative == "difference":
        x, low, high = x - base, gauge.low - gauge.high, gauge.high - gauge.low
    elif limit.relative == "ratio":
        x, low, high, bound = x - bound * base, low - bound * high, high - bound * low, 0.0
    return (x - low) / (high - low), (bound - low) / (high - low)


def of_pair(gauge: Gauge, leader: Array, x: Array) -> tuple[Array, float]:
    """Values z and a bound m: the leader's objective is better than another's if the mean of z is more than m.

    For means the paired differences; for times and quantiles the rounds in which the leader is better, of which there
    are more than half if the median of paired ratios lies on its side.

    Args:
        leader: shape (units,).
        x: shape (options, units).
    """
    sign = 1.0 if gauge.better == "higher" else -1.0
    if gauge.kind == "mean":
        span = gauge.high - gauge.low
        return (sign * (leader - x) + span) / (2.0 * span), 0.5
    return (np.sign(sign * (leader - x)) + 1.0) / 2.0, 0.5
