"""Bets of many options at once: the mixture of `weigh.scale.bets`, one row an option."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.decisions.asked import Array
from weigh.scale.bets import COUNT, FRACTIONS, PRIOR

_HALVES = np.array([0.0, 0.5, 1.0])
_EDGE = 1e-9


def grown(z: Array, bounds: Array) -> Array:
    """Growth of the log-wealth of each bet against "the mean is the bound": that it is larger, that it is smaller.

    Args:
        z: values in [0, 1], shape (options, units).
        bounds: shape (options,). Of a finite population that is drawn from without replacement, the mean of what is
            left where the bound is the mean of all: draws of a batch are negatively associated, so that a product of
            bets is worth no more than with independent ones.

    Returns: shape (2, options, COUNT).
    """
    twice = 2.0 * z
    if np.array_equal(twice, np.rint(twice)):  # right or wrong answers and their differences are counted
        counts = np.stack([(twice == value).sum(axis=1) for value in (0.0, 1.0, 2.0)], axis=1)
        table = _logs(np.broadcast_to(_HALVES, (len(z), 3)), bounds)
        return np.einsum("ov,sovb->sob", counts, table)
    return _logs(z, bounds).sum(axis=2)


def _logs(z: Array, bounds: Array) -> Array:
    up, down = np.maximum(bounds, _EDGE)[:, None], np.maximum(1.0 - bounds, _EDGE)[:, None]
    ratios = np.stack([z / up, (1.0 - z) / down]) - 1.0
    return np.log1p(ratios[..., None] * FRACTIONS)


def evidence(logs: Array) -> Array:
    """Log of the wealth of the mixture: shape (..., COUNT) to (...)."""
    top = logs.max(axis=-1)
    return top + np.log(np.exp(logs - top[..., None]) @ PRIOR)


def none(options: int) -> Array:
    """No wealth won or lost yet, shape (2, options, COUNT)."""
    return np.zeros((2, options, COUNT))


def enough(alpha: float, claims: int) -> float:
    """The log-wealth at which one of so many claims may be made."""
    return math.log(claims / alpha)
