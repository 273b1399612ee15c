"""Option `ks` of `monitor/drift`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from weigh.choice import Needs
from weigh.monitor.drift import DriftTest, Sample
from weigh.monitor.drift._sample import by_column, need_numbers

if TYPE_CHECKING:
    from weigh.monitor.drift._sample import Floats, Ints


class KolmogorovSmirnov(DriftTest):
    """Kolmogorov-Smirnov: the largest gap between the two distribution functions of each number column.

    Score: -log10 of the p-value of each column; "p < 0.05, after Bonferroni, in ten columns" is ``ks:threshold=2.3``.

    Good: any change of one column's distribution, in place or shape, without bins to choose. Bad: weak in the tails
    and for a small change of spread; blind to categories, missing values (it skips them) and to anything between
    columns. On columns with many equal values its p-values are too large.

    Source: Smirnov, Annals of Mathematical Statistics 19, 1948; p-values from Kolmogorov's limit.
    """

    needs = Needs(packages=("scipy>=1.15",), extra="monitor")

    def fit(self, reference: Sample) -> list[Steps]:
        need_numbers(reference, "ks")
        return [steps(column) for column in reference.numbers]

    def score(self, state: list[Steps], window: Sample) -> Floats:
        import numpy as np

        ordered = np.sort(window.numbers, axis=1)
        counts = window.rows - np.isnan(ordered).sum(axis=1)
        columns = zip(state, ordered, counts)
        found = [
            minus_log10(scaled_gap(known, values[:count])) if count else np.nan for known, values, count in columns
        ]
        return by_column(window, numbers=found)


class Steps(NamedTuple):
    """An empirical distribution function: its distinct values, and how many values lie below each (and in all)."""

    values: Floats
    below: Ints


def steps(column: Floats) -> Steps:
    """The distribution function of one column; missing values are left out."""
    import numpy as np

    values, counts = np.unique(column[~np.isnan(column)], return_counts=True)
    return Steps(np.append(values, np.inf), np.concatenate([[0], np.cumsum(counts)]))


def gap(known: Steps, ordered: Floats) -> float:
    """The two-sample Kolmogorov-Smirnov statistic of a reference and a window in ascending order.

    >>> import numpy as np
    >>> gap(steps(np.array([1.0, 2.0, 3.0, 4.0])), np.array([3.0, 3.0, 5.0]))
    0.5
    """
    import numpy as np

    place = np.searchsorted(known.values, ordered)
    share = 1.0 / known.below[-1]
    below = known.below[place] * share
    upto = known.below[np.minimum(place + (known.values[place] == ordered), len(known.below) - 1)] * share
    ranks = np.arange(len(ordered) + 1) / len(ordered)
    return float(max((below - ranks[:-1]).max(), (ranks[1:] - upto).max(), 0.0))


def scaled_gap(known: Steps, ordered: Floats) -> float:
    """The gap times the root of the effective number of values, whose distribution without drift is Kolmogorov's."""
    size, count = int(known.below[-1]), len(ordered)
    return gap(known, ordered) * math.sqrt(count * size / (count + size))


def minus_log10(scaled: float) -> float:
    """-log10 of the p-value of a scaled gap; far out, of the first term of its series, so that it never ends.

    >>> round(minus_log10(1.3581), 3), minus_log10(0.0), round(minus_log10(100.0), 1)
    (1.301, 0.0, 8685.6)
    """
    from scipy.special import kolmogorov

    if scaled < 5.0:
        return -math.log10(float(kolmogorov(scaled))) + 0.0
    return (2.0 * scaled * scaled - math.log(2.0)) / math.log(10.0)
