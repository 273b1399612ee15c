"""Bounds for benchmarks: wealth against one mean for many paths at once, and what others offer to compare with."""

from __future__ import annotations

import math
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CONFSEQ = find_spec("confseq") is not None
HOW = """confseq is not installed: an own beta-binomial mixture stands in, for 0/1 values and quantiles alone.
confseq 0.0.11 has no wheels and wants Boost and an older pybind11; this built it:
  pip install cmeel-boost 'pybind11==2.13.6' 'cmake<4' scikit-build setuptools wheel ninja
  export BOOST_ROOT=$(python -c 'import cmeel, pathlib; print(pathlib.Path(cmeel.__path__[0]).parent / "cmeel.prefix")')
  CMAKE_PREFIX_PATH=$BOOST_ROOT pip install --no-build-isolation --no-deps confseq==0.0.11"""


def ever(x: Array, mean: float, fractions: Array, prior: Array, population: int | None = None) -> Array:
    """Log of the most that a mixture of bets against a mean ever held, for each path and side; shape (paths, 2).

    Args:
        x: values in [0, 1], shape (paths, n).
        mean: what is bet against, in (0, 1).
        fractions: bets, as shares of the largest that can never go broke, shape (bets,).
        prior: their weights, shape (bets,).
        population: size of the finite population that is drawn from without replacement; None for independent draws.
    """
    sides = []
    for values, bound in ((x, mean), (1.0 - x, 1.0 - mean)):
        means: Array | float = bound
        if population is not None:
            before = np.cumsum(values, axis=1) - values
            left = population - np.arange(x.shape[1])
            means = np.clip((population * bound - before) / left, 1e-9, None)
        gains, held = values / means - 1.0, np.zeros(x.shape)
        for fraction, weight in zip(fractions, prior, strict=True):
            grown = np.cumsum(np.log(np.maximum(1.0 + fraction * gains, 1e-300)), axis=1)
            held += weight * np.exp(np.minimum(grown, 700.0))
        sides.append(np.log(held.max(axis=1)))
    return np.stack(sides, axis=1)


def hoeffding(n: int, alpha: float, tightest_at: int = 500) -> float:
    """Half-width for the mean of n values in [0, 1] that holds at all times: Hoeffding's, by Robbins' normal mixture.

    Source: Howard, Ramdas, McAuliffe and Sekhon, Time-uniform, nonparametric, nonasymptotic confidence sequences,
    Annals of Statistics 2021, equation 14 (arXiv 1810.08240).
    """
    wanted = 2.0 * math.log(1.0 / alpha)
    rho, v = tightest_at / 4.0 / (wanted + math.log1p(wanted)), n / 4.0
    return math.sqrt((v + rho) * math.log((v + rho) / (alpha * alpha * rho))) / n


def binomial(count: float, n: int, alpha: float) -> tuple[float, float]:
    """Ends for a share that hold at all times, by a beta-binomial mixture with a flat prior."""
    from scipy.optimize import brentq
    from scipy.special import betaln

    def lacks(p: float) -> float:
        likelihood = count * math.log(p) + (n - count) * math.log1p(-p)
        return float(betaln(count + 1, n - count + 1)) - likelihood + math.log(alpha)

    share, edge = min(max(count / n, 1e-9), 1.0 - 1e-9), 1e-12
    low = brentq(lacks, edge, share) if lacks(edge) > 0 and count else 0.0
    high = brentq(lacks, share, 1.0 - edge) if lacks(1.0 - edge) > 0 and count < n else 1.0
    return low, high


def confseq_share(count: int, n: int, alpha: float, tightest_at: int = 500) -> tuple[float, float]:
    """Ends for a share by the package confseq, or by `binomial` where it is not installed."""
    if not CONFSEQ:
        return binomial(count, n, alpha)
    from confseq.boundaries import bernoulli_confidence_interval

    low, high = bernoulli_confidence_interval(count, n, alpha, tightest_at)
    return float(low), float(high)


def confseq_mean(x: Array, alpha: float, tightest_at: int = 500) -> tuple[float, float]:
    """Ends for the mean of values in [0, 1] by confseq: empirical Bernstein, a gamma-exponential mixture.

    Returns: NaN where confseq is not installed.
    """
    if not CONFSEQ:
        return math.nan, math.nan
    from confseq.boundaries import gamma_exponential_mixture_bound

    guesses = np.concatenate([[0.5], (np.cumsum(x) + 0.5)[:-1] / np.arange(2.0, x.size + 1.0)])
    spent = float(((x - guesses) ** 2).sum())
    often = max(tightest_at * float(x.var()), 1.0)
    half = float(gamma_exponential_mixture_bound(spent, alpha / 2, often, 1.0, alpha / 2)) / x.size
    return max(float(x.mean()) - half, 0.0), min(float(x.mean()) + half, 1.0)


def between(x: Array, low: float, high: float) -> float:
    """The distance of two order statistics of x: those at shares `low` and `high`; infinite where one is missing."""
    ordered, n = np.sort(x), x.size
    first, last = math.floor(n * low) - 1, math.ceil(n * high)
    if first < 0 or last >= n:
        return math.inf
    return float(ordered[last] - ordered[first])
