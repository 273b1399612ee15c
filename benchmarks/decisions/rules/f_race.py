"""irace's F-race (Birattari et al., GECCO 2002; Lopez-Ibanez et al., 2016) over blocks."""

from __future__ import annotations

import os
import numpy as np

from benchmarks.decisions.asked import Array, Asked, Meter, Shipped
from benchmarks.decisions.rules._estimate import Places, Sheet, estimate
from benchmarks.decisions.rules import _blockwise

FIRST = 5
CONFIDENCE = 0.95
SHARE = float(os.environ.get("SHARE", "1"))
STEP = int(os.environ.get("STEP", "1"))
FINAL = os.environ.get("FINAL", "all")


def decide(asked: Asked, meter: Meter, seed: int) -> Shipped:
    sheet = Sheet(asked, meter)
    alive = sheet.candidates
    if not len(alive) or not sheet.gauges:
        return sheet.best(alive)
    scores = np.empty((asked.blocks // STEP + 1, len(asked.options)))
    n = 0
    while (
        len(alive) > 1
        and sheet.count[alive[0]] + STEP <= asked.blocks
        and (n < FIRST or sheet.count.sum() < SHARE * asked.blocks * len(asked.options))
    ):
        for _ in range(STEP):
            sheet.read(alive)
        scores[n, alive] = _blockwise.scores(sheet, alive, STEP)
        n += 1
        if n >= FIRST:
            alive = alive[survivors(scores[:n, alive])]
    while len(alive) == 1 and not sheet.count[alive[0]]:
        sheet.read(alive)
    return sheet.best(alive if FINAL == "alive" else sheet.candidates)


def survivors(scores: Array) -> Array:
    from scipy import stats

    n, k = scores.shape
    if k == 2:
        return _two(scores)
    ranks = stats.rankdata(scores, axis=1)
    sums = ranks.sum(axis=0)
    squares = float((ranks**2).sum())
    spread = squares - n * k * (k + 1) ** 2 / 4
    if spread <= 0:
        return np.ones(k, bool)
    statistic = (k - 1) * float(((sums - n * (k + 1) / 2) ** 2).sum()) / spread
    if stats.chi2.sf(statistic, k - 1) >= 1 - CONFIDENCE:
        return np.ones(k, dtype=bool)
    df = (n - 1) * (k - 1)
    gap = stats.t.ppf(1 - (1 - CONFIDENCE) / 2, df) * np.sqrt(max(2 * (n * squares - float((sums**2).sum())) / df, 0.0))
    return sums - sums.min() <= gap


def _two(scores: Array) -> Array:
    from scipy import stats

    d = scores[:, 0] - scores[:, 1]
    if (d <= 0).all():
        return np.array([True, False])
    if (d >= 0).all():
        return np.array([False, True])
    p = stats.wilcoxon(d).pvalue
    if p >= 1 - CONFIDENCE:
        return np.array([True, True])
    m = np.median((d[:, None] + d[None, :]) / 2)
    return np.array([m <= 0, m > 0])
