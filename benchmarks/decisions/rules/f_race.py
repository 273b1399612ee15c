"""irace's F-race (Birattari et al., GECCO 2002; Lopez-Ibanez et al., ORP 2016) over instances of 250 units or more.

From the fifth instance on, after each, as far as blocks are whole: Friedman's test at 5 % over those alive, and, where
it rejects, whoever's sum of ranks lies further from the best than Conover's least significant difference is out; of two
the Wilcoxon signed-rank test decides. These are irace's defaults. Limits enter as irace's manual has it, by a penalty.
The race ends when one option is left or all blocks are measured; the point rule then picks by the last estimates of all
options, so that one that was left behind may be shipped where the survivor misses a limit.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions.asked import Array, Asked, Meter, Shipped
from benchmarks.decisions.rules import _blockwise
from benchmarks.decisions.rules._estimate import Sheet

FIRST = 5
LEVEL = 0.05

Flags = NDArray[np.bool_]


def decide(asked: Asked, meter: Meter, seed: int) -> Shipped:
    """Race until one is left, and ship the best by the last estimates."""
    sheet = Sheet(asked, meter)
    alive = sheet.candidates
    if not sheet.gauges or not len(alive):
        return sheet.best(alive)
    scores = np.empty((0, len(asked.options)))
    while len(alive) > 1 and _blockwise.left(sheet, alive[0]):
        new = np.empty((_blockwise.instances(sheet), len(asked.options)))
        new[:, alive] = _blockwise.measured(sheet, alive)
        scores = np.concatenate([scores, new])
        if len(scores) >= FIRST:
            alive = alive[survivors(scores[:, alive])]
    if not sheet.count.any():
        _blockwise.measured(sheet, alive)
    return sheet.best(sheet.candidates)


def survivors(scores: Array) -> Flags:
    """Who stays, by scores of shape (instances, options)."""
    from scipy import special, stats

    n, k = scores.shape
    if k <= 2:
        return _of_two(scores)
    ranks = stats.rankdata(scores, axis=1)
    sums, squares = ranks.sum(axis=0), float((ranks**2).sum())
    spread, free = squares - n * k * (k + 1) ** 2 / 4.0, (n - 1) * (k - 1)
    if spread <= 0.0:
        return np.ones(k, dtype=bool)
    statistic = (k - 1) * float(((sums - n * (k + 1) / 2.0) ** 2).sum()) / spread
    if special.chdtrc(k - 1, statistic) >= LEVEL:
        return np.ones(k, dtype=bool)
    between = max(2.0 * (n * squares - float((sums**2).sum())) / free, 0.0)
    stays: Flags = sums - sums.min() <= special.stdtrit(free, 1.0 - LEVEL / 2.0) * math.sqrt(between)
    return stays


def _of_two(scores: Array) -> Flags:
    from scipy import stats

    if scores.shape[1] < 2:
        return np.ones(scores.shape[1], dtype=bool)
    ahead = scores[:, 0] - scores[:, 1]
    if np.all(ahead <= 0.0) or np.all(ahead >= 0.0):
        return np.array([bool(np.all(ahead <= 0.0)), not np.all(ahead <= 0.0)])
    tied = len(np.unique(np.abs(ahead))) < len(ahead) or bool(np.any(ahead == 0.0))
    if stats.wilcoxon(ahead, method="approx" if tied else "auto", correction=True).pvalue >= LEVEL:
        return np.ones(2, dtype=bool)
    middle = float(np.median(ahead[:, None] + ahead[None]))
    return np.array([middle <= 0.0, middle > 0.0])
