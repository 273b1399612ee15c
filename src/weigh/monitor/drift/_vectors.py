"""Rows as vectors, for options that look between columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from weigh.monitor.drift._sample import Sample

if TYPE_CHECKING:
    from weigh.monitor.drift._sample import Floats

CLIP = 4.0
"""Standardised numbers are cut here, so that a few wild values do not hide the rest."""
LEVELS = 8
"""Most frequent levels of a category that get a coordinate of their own; all others share one."""


class Vectors(NamedTuple):
    """How a row becomes a vector: standardised numbers, marks of their gaps, then marks of levels.

    A missing number is 0 (the mean) with its mark set; a missing category has a mark like any level.
    """

    mean: Floats
    deviation: Floats
    levels: tuple[int, ...]

    @classmethod
    def of(cls, reference: Sample) -> Vectors:
        """Standardised by the reference."""
        import numpy as np

        mean, deviation = np.nanmean(reference.numbers, axis=1), np.nanstd(reference.numbers, axis=1, ddof=1)
        return cls(mean[:, None], deviation[:, None], tuple(min(levels, LEVELS + 2) for levels in reference.levels))

    @property
    def size(self) -> int:
        """How many coordinates a vector has."""
        return 2 * len(self.mean) + sum(self.levels)

    def __call__(self, sample: Sample) -> Any:
        """Float32, shape (rows, size)."""
        import numpy as np

        count = len(self.mean)
        made = np.zeros((self.size, sample.rows), dtype=np.float32)
        made[:count] = np.clip((sample.numbers - self.mean) / self.deviation, -CLIP, CLIP)
        gaps = np.isnan(made[:count])
        if gaps.any():
            made[:count][gaps] = 0.0
            made[count : 2 * count] = gaps
        start = 2 * count
        for codes, levels in zip(sample.codes, self.levels):
            marks = made[start : start + levels]
            np.equal(np.minimum(codes, levels - 1), np.arange(levels)[:, None], out=marks, casting="unsafe")
            start += levels
        return made.T
