"""Rows of a table as arrays: what every drift test reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from weigh.choice import Unfit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Ints: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sample:
    """Some rows of the history, a reference or a window, one array row a column.

    Attributes:
        numbers: shape (number columns, rows); NaN where a value is missing.
        codes: shape (category columns, rows); 0 where a value is missing, then levels from the most frequent on.
        levels: how many codes each category column has, 0 included.
        seed: for tests that draw at random: another one for each window, the same in every run.
    """

    numbers: Floats
    codes: Ints
    levels: tuple[int, ...]
    seed: int = 0

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return int(self.numbers.shape[1])

    def take(self, rows: Any) -> Sample:
        """Only these rows, by a mask, positions or a slice."""
        return Sample(self.numbers[:, rows], self.codes[:, rows], self.levels, self.seed)


def need_numbers(reference: Sample, test: str) -> None:
    """Raises `Unfit` when there is no column of numbers."""
    if not len(reference.numbers):
        raise Unfit(f"{test} compares numbers, but only categories are watched: chi_squared suits them")


def need_categories(reference: Sample, test: str) -> None:
    """Raises `Unfit` when there is no column of categories."""
    if not len(reference.codes):
        raise Unfit(f"{test} compares categories, but only numbers are watched: ks suits them")
