"""Option `wasserstein` of `monitor/drift`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from weigh.monitor.drift import DriftTest, Sample
from weigh.monitor.drift._sample import by_column, need_numbers

if TYPE_CHECKING:
    from weigh.monitor.drift._sample import Floats


class Wasserstein(DriftTest):
    """Wasserstein distance of each number column: how far values must move to become those of the reference.

    Score: the distance of each column, in standard deviations of its reference; a common rule is
    ``wasserstein:threshold=0.1``.

    Good: a distance in units that mean something; sees place, spread and tails. Bad: a few wild values in a heavy tail
    move it much, so that such a column needs a high threshold; blind to categories, missing values (it skips them) and
    to anything between columns.

    Source: Vaserstein, Problems of Information Transmission 5, 1969; first order, between empirical distributions.
    """

    def fit(self, reference: Sample) -> list[Ramp]:
        need_numbers(reference, "wasserstein")
        return [Ramp.of(column) for column in reference.numbers]

    def score(self, state: list[Ramp], window: Sample) -> Floats:
        import numpy as np

        ordered = np.sort(window.numbers, axis=1)
        counts = window.rows - np.isnan(ordered).sum(axis=1)
        columns = zip(state, ordered, counts)
        found = [known.distance(values[:count]) if count else np.nan for known, values, count in columns]
        return by_column(window, numbers=found)


class Ramp(NamedTuple):
    """The integral of an empirical distribution function, ready to be read at any place."""

    centre: float
    values: Floats
    sums: Floats
    deviation: float

    @classmethod
    def of(cls, column: Floats) -> Ramp:
        """Of one column; missing values are left out. Values are centred, so that sums of large ones stay exact."""
        import numpy as np

        values = np.sort(column[~np.isnan(column)])
        centre = float(values.mean())
        values = values - centre
        return cls(centre, values, np.concatenate([[0.0], np.cumsum(values)]), float(values.std(ddof=1)))

    def distance(self, ordered: Floats) -> float:
        """Between the reference and a window in ascending order, in deviations: the area between their distributions.

        Between two neighbours of the window its distribution function is flat at some height, and that of the
        reference crosses this height at most once: left and right of there the area is a difference of integrals.
        """
        import numpy as np

        window = ordered - self.centre
        n, size = len(window), len(self.values)
        places = np.searchsorted(self.values, window, side="right")
        areas = (places * window - self.sums[places]) / size
        before = areas[0]
        after = (self.sums[-1] - self.sums[places[-1]] - (size - places[-1]) * window[-1]) / size
        rank = np.arange(1, n)
        height = rank / n
        crossing = -(-rank * size // n)
        at = self.values[crossing - 1]
        area_at = (crossing * at - self.sums[crossing]) / size
        left, right = window[:-1], window[1:]
        area_at = np.where(at <= left, areas[:-1], np.where(at >= right, areas[1:], area_at))
        at = np.clip(at, left, right)
        between = height * (2.0 * at - left - right) + areas[:-1] + areas[1:] - 2.0 * area_at
        return float(before + after + between.sum()) / self.deviation
