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

    def shared(self) -> Sample:
        """The same rows, into which nobody can write: all tests read them."""
        numbers, codes = self.numbers.view(), self.codes.view()
        numbers.flags.writeable = codes.flags.writeable = False
        return Sample(numbers, codes, self.levels, self.seed)

    def take(self, rows: Any) -> Sample:
        """Only these rows, by a mask, positions or a slice."""
        return Sample(self.numbers[:, rows], self.codes[:, rows], self.levels, self.seed)

    def column(self, place: int) -> Sample:
        """Only one column, number columns first."""
        numbers = len(self.numbers)
        if place < numbers:
            return Sample(self.numbers[place : place + 1], self.codes[:0], (), self.seed)
        place -= numbers
        return Sample(self.numbers[:0], self.codes[place : place + 1], self.levels[place : place + 1], self.seed)


def by_column(sample: Sample, *, numbers: Any = None, codes: Any = None) -> Floats:
    """Scores of the number columns and of the category columns as one array; NaN for the kind that is not given."""
    import numpy as np

    found = np.full(len(sample.numbers) + len(sample.codes), np.nan)
    if numbers is not None:
        found[: len(sample.numbers)] = numbers
    if codes is not None:
        found[len(sample.numbers) :] = codes
    return found


def need_numbers(reference: Sample, test: str) -> None:
    """Raises `Unfit` when there is no column of numbers."""
    if not len(reference.numbers):
        raise Unfit(f"{test} compares numbers, but only categories are watched: chi_squared suits them")


def need_categories(reference: Sample, test: str) -> None:
    """Raises `Unfit` when there is no column of categories."""
    if not len(reference.codes):
        raise Unfit(f"{test} compares categories, but only numbers are watched: ks suits them")
