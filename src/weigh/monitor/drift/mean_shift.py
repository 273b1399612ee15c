"""Option `mean_shift` of `monitor/drift`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from weigh.monitor.drift import DriftTest, Sample
from weigh.monitor.drift._sample import by_column, need_numbers

if TYPE_CHECKING:
    from weigh.monitor.drift._sample import Floats


class MeanShift(DriftTest):
    """The mean of each number column against the reference, in standard errors (a z test a column).

    Score: |z| of each column; three is the rule of control charts, ``mean_shift:threshold=3``.

    Good: nothing is cheaper, and nothing sees a moved mean of one column sooner. Bad: it is blind to spread, shape,
    categories, missing values (it skips them) and to anything between columns.

    Source: Shewhart, Economic Control of Quality of Manufactured Product, 1931.
    """

    def fit(self, reference: Sample) -> Moments:
        need_numbers(reference, "mean_shift")
        import numpy as np

        values, mean = means(reference)
        return Moments(values, mean, np.nanstd(reference.numbers, axis=1, ddof=1))

    def score(self, state: Moments, window: Sample) -> Floats:
        import numpy as np

        count, mean = means(window)
        error = state.deviation * np.sqrt(1.0 / np.maximum(count, 1) + 1.0 / state.values)
        z = np.where(count > 0, np.abs(mean - state.mean) / error, np.nan)
        return by_column(window, numbers=z)


class Moments(NamedTuple):
    """Of each column: how many values there are, their mean and their standard deviation."""

    values: Floats | int
    mean: Floats
    deviation: Floats


def means(sample: Sample) -> tuple[Floats | int, Floats]:
    """How many values each number column has, and their mean (0 where there is none)."""
    import numpy as np

    missing = np.isnan(sample.numbers)
    if not missing.any():
        return sample.rows, sample.numbers.sum(axis=1) / sample.rows
    count = sample.rows - missing.sum(axis=1).astype(float)
    return count, np.where(missing, 0.0, sample.numbers).sum(axis=1) / np.maximum(count, 1)
