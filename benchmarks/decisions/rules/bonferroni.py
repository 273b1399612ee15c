"""Fixed-n intervals with Bonferroni: all options on a tenth of the units, each limit at alpha over the options.

An option is certified if each of its limits is met by the far end of a one-sided interval. Right or wrong answers,
quantiles and medians of paired ratios come down to counts: Clopper and Pearson's exact interval. Paired differences of
answers and other means get Student's t: an approximation, which is what people use. Bonferroni pays for the options
alone, since an option that breaks any limit must be certified wrongly on that one. Timings are taken to be independent.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions.asked import Array, Asked, Meter, Shipped
from benchmarks.decisions.rules import _contrast
from benchmarks.decisions.rules._estimate import Sheet
from weigh.scale.gauge import Gauge, Limit

SHARE = 0.10


def decide(asked: Asked, meter: Meter, seed: int) -> Shipped:
    """The best option that is certified by a fixed number of units, or the baseline without a claim."""
    sheet = Sheet(asked, meter)
    if not len(sheet.candidates):
        return sheet.ship(None)
    for _ in range(max(round(SHARE * asked.blocks), 1)):
        sheet.read(sheet.candidates)
    certified = np.ones(len(sheet.candidates), dtype=bool)
    for limit in sheet.limits:
        x, base = sheet.pairs(limit.gauge, sheet.candidates)
        met = _met(asked.gauges[limit.gauge], limit, x, base, asked.alpha / len(sheet.candidates))
        certified &= met | ((sheet.candidates == sheet.base) & bool(limit.relative))
    left = sheet.candidates[certified]
    return sheet.ship(int(left[np.argmin(sheet.objective(left))]) if len(left) else None)


def _met(gauge: Gauge, limit: Limit, x: Array, base: Array, alpha: float) -> NDArray[np.bool_]:
    from scipy import stats

    if not _contrast.is_mean(gauge, limit):
        return _quantiles(gauge, limit, x, base, alpha)
    z, bound = _contrast.of_limit(gauge, limit, x, base)
    n, met = z.shape[1], z.mean(axis=1) >= bound
    if np.all((z == 0.0) | (z == 1.0)):
        successes = z.sum(axis=1)
        low = stats.beta.ppf(alpha, successes, n - successes + 1.0)
    else:
        low = z.mean(axis=1) - stats.t.ppf(1.0 - alpha, n - 1) * z.std(axis=1, ddof=1) / np.sqrt(n)
    return met & (np.nan_to_num(low) >= bound)


def _quantiles(gauge: Gauge, limit: Limit, x: Array, base: Array, alpha: float) -> NDArray[np.bool_]:
    """A ratio or difference of two quantiles, by an order statistic of each at half of alpha."""
    upper = limit.op == "<="
    mine, theirs = _end(gauge.q, x, alpha / 2, upper), _end(gauge.q, base[None], alpha / 2, not upper)[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        end = mine / theirs if limit.relative == "ratio" else mine - theirs
    return end <= limit.bound if upper else end >= limit.bound


def _end(q: float, x: Array, alpha: float, upper: bool) -> Array:
    from scipy import stats

    n = x.shape[1]
    rank = int(stats.binom.ppf(1.0 - alpha, n, q)) + 1 if upper else int(stats.binom.ppf(alpha, n, q))
    if not 1 <= rank <= n:
        return np.full(len(x), np.inf if upper else -np.inf)
    return np.partition(x, rank - 1, axis=1)[:, rank - 1]
