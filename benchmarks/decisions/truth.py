"""What is true of a question family: every unit was measured, so that nothing is estimated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions.family import Family
from weigh.scale.gauge import Gauge, Limit

Array = NDArray[np.float64]

_SLACK = 1e-9
"""What rounding may add to a sum: an option that equals its bound meets it."""


def truth(family: Family) -> dict[str, Array]:
    """By gauge the true value of each option, shape (options,)."""
    found = {name: np.asarray(of, dtype=np.float64) for name, of in family.exact.items()}
    for gauge in family.gauges:
        if gauge.name in family.values:
            found[gauge.name] = _centre(gauge, family.values[gauge.name])
    return found


def _centre(gauge: Gauge, values: Array) -> Array:
    if gauge.kind == "mean":
        return np.asarray(values.mean(axis=0, dtype=np.float64))
    q = gauge.q if gauge.kind == "quantile" else 0.5
    return np.asarray(np.quantile(values, q, axis=0, method="inverted_cdf"), dtype=np.float64)


def bounded(family: Family, limit: Limit) -> Array:
    """What a limit bounds, of each option, shape (options,)."""
    base = family.options.index(family.baseline)
    gauge = next(gauge for gauge in family.gauges if gauge.name == limit.gauge)
    if limit.relative == "ratio" and gauge.kind == "time":
        values = family.values[gauge.name]
        return np.asarray(np.quantile(values / values[:, [base]], 0.5, axis=0, method="inverted_cdf"))
    level = truth(family)[limit.gauge]
    if limit.relative == "difference":
        return np.asarray(level - level[base])
    return np.asarray(level / level[base]) if limit.relative else level


def feasible(family: Family, limits: Sequence[Limit]) -> NDArray[np.bool_]:
    """Which options meet all limits, shape (options,)."""
    met = np.ones(len(family.options), dtype=bool)
    for limit in limits:
        level = bounded(family, limit)
        met &= level <= limit.bound + _SLACK if limit.op == "<=" else level >= limit.bound - _SLACK
    return met


def costs(family: Family) -> Array:
    """The objective of each option, so that less is better, shape (options,)."""
    gauge = next(gauge for gauge in family.gauges if gauge.name == family.objective)
    level = truth(family)[family.objective]
    return level if gauge.better == "lower" else np.asarray(1.0 / np.maximum(level, 1e-12))


def oracle(family: Family, limits: Sequence[Limit]) -> int:
    """The place of the best option that meets all limits.

    Raises:
        ValueError: none does.
    """
    met = feasible(family, limits)
    if not met.any():
        raise ValueError(
            f"{family.name}: no option meets {', '.join(map(str, limits))}; state a setting that one meets"
        )
    return int(np.argmin(np.where(met, costs(family), np.inf)))


def cost_ratio(family: Family, limits: Sequence[Limit], option: int) -> float:
    """The objective of an option against the oracle's: 1 at best."""
    cost = costs(family)
    return float(cost[option] / cost[oracle(family, limits)])
