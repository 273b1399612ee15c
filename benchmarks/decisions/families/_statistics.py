"""Drift statistics of many windows at once: arrays of shape (windows, rows, columns), the largest over the columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_BINS = 10


class Reference(NamedTuple):
    """Rows to compare with: sorted by column, their standard deviations, the edges and shares of ten bins a column."""

    rows: Array
    deviation: Array
    edges: list[Array]
    shares: list[Array]


class Statistic(NamedTuple):
    """How it is computed, and the operations of a window of so many rows and one column."""

    value: Callable[[Array, Reference], Array]
    operations: Callable[[int], float]


def reference_of(rows: Array) -> Reference:
    """From rows, shape (rows, columns)."""
    rows = np.sort(rows, axis=0)
    edges = [np.unique(np.quantile(column, np.arange(1, _BINS) / _BINS)) for column in rows.T]
    shares = [_shares(column[None, :], cuts)[0] for column, cuts in zip(rows.T, edges)]
    return Reference(rows, rows.std(axis=0) + 1e-12, edges, shares)


def _shares(values: Array, edges: Array) -> Array:
    """The share of each bin in each row of `values`, with a little added so that none is nothing."""
    places = np.searchsorted(edges, values) + (len(edges) + 1) * np.arange(len(values))[:, None]
    counts = np.bincount(places.ravel(), minlength=len(values) * (len(edges) + 1))
    return counts.reshape(len(values), -1) / values.shape[1] + 1e-3


def _mean_shift(windows: Array, reference: Reference) -> Array:
    """The shift of a mean in standard errors."""
    errors = reference.deviation / np.sqrt(windows.shape[1])
    return np.asarray((np.abs(windows.mean(axis=1) - reference.rows.mean(axis=0)) / errors).max(axis=1))


def _psi(windows: Array, reference: Reference) -> Array:
    """The population stability index over ten bins."""
    found = np.zeros(len(windows))
    for column, (edges, q) in enumerate(zip(reference.edges, reference.shares)):
        p = _shares(windows[:, :, column], edges)
        found = np.maximum(found, ((p - q) * np.log(p / q)).sum(axis=1))
    return found


def _ks(windows: Array, reference: Reference) -> Array:
    """The distance of Kolmogorov and Smirnov: largest at a row of the window, before or after its step."""
    found, rows = np.zeros(len(windows)), windows.shape[1]
    for column in range(windows.shape[2]):
        ordered, old = np.sort(windows[:, :, column], axis=1), reference.rows[:, column]
        above = np.arange(1, rows + 1) / rows - np.searchsorted(old, ordered, side="right") / len(old)
        below = np.searchsorted(old, ordered, side="left") / len(old) - np.arange(rows) / rows
        found = np.maximum(found, np.maximum(above, below).max(axis=1))
    return found


def _wasserstein(windows: Array, reference: Reference) -> Array:
    """The mean distance of quantiles in standard deviations."""
    middles = (np.arange(windows.shape[1]) + 0.5) / windows.shape[1]
    gaps = np.abs(np.sort(windows, axis=1) - np.quantile(reference.rows, middles, axis=0)).mean(axis=1)
    return np.asarray((gaps / reference.deviation).max(axis=1))


STATISTICS = {
    "mean-shift": Statistic(_mean_shift, lambda rows: rows),
    "psi": Statistic(_psi, lambda rows: rows * np.log2(_BINS) + 4 * _BINS),
    "wasserstein": Statistic(_wasserstein, lambda rows: rows * (np.log2(rows) + 2)),
    "ks": Statistic(_ks, lambda rows: rows * (np.log2(rows) + np.log2(1_000))),
}
"""Sums take an operation a row, bins and sorting the logarithm of their number, looking up in 1,000 rows ten."""
