"""The distribution of positive values in a state of constant size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST, STEP, CELLS = 1e-3, 0.01, 2764
"""The smallest value told apart from 0, how far neighbouring cells lie apart (as logs), and their number: to 1e9."""


class Histogram:
    """Counts of values in cells of 1 %, from 0.001 to 1e9 in their own unit.

    >>> times = Histogram()
    >>> times.update(np.arange(1.0, 1001.0))
    >>> round(times.quantile(0.5)), times.n
    (504, 1000)
    """

    __slots__ = ("_counts", "n")

    def __init__(self) -> None:
        self._counts: NDArray[np.int64] = np.zeros(CELLS, dtype=np.int64)
        self.n = 0

    def update(self, values: NDArray[np.float64]) -> None:
        """Take values, shape (n,)."""
        if values.size == 1:
            self._counts[_cell(float(values[0]))] += 1
        elif values.size:
            place = np.ceil(np.log(np.maximum(values, LEAST) / LEAST) / STEP)
            self._counts += np.bincount(np.minimum(place, CELLS - 1).astype(np.intp), minlength=CELLS)
        self.n += values.size

    def quantile(self, q: float) -> float:
        """The least end of a cell that at least the share q of the values does not exceed; NaN before any value."""
        if not self.n:
            return math.nan
        place = int(np.searchsorted(np.cumsum(self._counts), math.ceil(self.n * q - 1e-9)))
        return LEAST * math.exp(STEP * place)

    def state(self) -> dict[str, Any]:
        """All that it knows, as JSON has it."""
        cells = np.flatnonzero(self._counts)
        return {"cells": cells.tolist(), "counts": self._counts[cells].tolist()}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """From `state()`."""
        made = cls()
        made._counts[np.asarray(state["cells"], dtype=np.intp)] = state["counts"]
        made.n = int(made._counts.sum())
        return made


def _cell(value: float) -> int:
    return min(math.ceil(math.log(max(value, LEAST) / LEAST) / STEP), CELLS - 1)
