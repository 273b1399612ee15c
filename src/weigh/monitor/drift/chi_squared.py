"""Option `chi_squared` of `monitor/drift`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from weigh.choice import Needs
from weigh.monitor.drift import DriftTest, Sample
from weigh.monitor.drift._sample import by_column, need_categories

if TYPE_CHECKING:
    from weigh.monitor.drift._sample import Floats


class ChiSquared(DriftTest):
    """Chi-squared test of each category column: do levels come as often as in the reference?

    Score: -log10 of the p-value of each column; "p < 0.05, after Bonferroni, in ten columns" is
    ``chi_squared:threshold=2.3``. A missing category counts as a level of its own.

    Good: a changed mix of categories, at almost no cost. Bad: blind to numbers, their missing values included, and to
    anything between columns; its p-values are rough where a level is expected fewer than five times.

    Source: Pearson, Philosophical Magazine 50, 1900 (test of homogeneity, no continuity correction).
    """

    needs = Needs(packages=("scipy>=1.15",), extra="monitor")

    def fit(self, reference: Sample) -> list[Floats]:
        need_categories(reference, "chi_squared")
        return level_counts(reference)

    def score(self, state: list[Floats], window: Sample) -> Floats:
        found = [statistic(known, counts) for known, counts in zip(state, level_counts(window))]
        return by_column(window, codes=[minus_log10(value, free) for value, free in found])


def level_counts(sample: Sample) -> list[Floats]:
    """How often each level of each category column comes."""
    import numpy as np

    pairs = zip(sample.codes, sample.levels)
    return [np.bincount(codes, minlength=levels).astype(float) for codes, levels in pairs]


def statistic(known: Floats, counts: Floats) -> tuple[float, int]:
    """Chi-squared of two rows of counts, and its degrees of freedom; levels that neither has are left out."""
    both = known + counts
    used = both > 0
    known, counts, both = known[used], counts[used], both[used]
    rows = counts.sum() / both.sum()
    expected, expected_known = both * rows, both * (1.0 - rows)
    value = ((counts - expected) ** 2 / expected).sum() + ((known - expected_known) ** 2 / expected_known).sum()
    return float(value), max(int(used.sum()) - 1, 1)


def minus_log10(value: float, free: int) -> float:
    """-log10 of the p-value; far out, of the tail's expansion, so that it never ends.

    >>> round(minus_log10(3.841459, 1), 3), minus_log10(0.0, 4), round(minus_log10(1e6, 1), 1)
    (1.301, 0.0, 217150.3)
    """
    from scipy.special import chdtrc

    p = float(chdtrc(free, value))
    if p > 1e-280:
        return -math.log10(p) + 0.0
    shape, x = free / 2.0, value / 2.0
    log = (shape - 1.0) * math.log(x) - x - math.lgamma(shape) - math.log1p(-(shape - 1.0) / x)
    return -log / math.log(10.0)
