"""Does each confidence sequence hold at all times as often as it promises, and how wide is it beside others?

``make bench-coverage [ARGS="--paths 10000 --only bernoulli"]``: for each case many paths are drawn whose truth is
known, and a path is missed when the interval ever left the truth out, at any time up to the path's end. To add a case,
write a function that returns some and name it in `cases`.

The bets of a race on a mean (`Tally`, `Drawn`) are checked after each value and as if they were computed without
rounding: a path is missed when wealth against the truth ever reached 2 / alpha on a side; rounding only widens. Cases
that are called later are the series of a race themselves, which round, looked at 20 times on the way, with half of the
error rate bet on what suited the first values. So are quantiles and ratios, whose bets are tempered as neighbours
resemble each other.

Widths are medians over paths, at three times, against Hoeffding's bound that holds at all times and against the package
confseq: for 0/1 values and quantiles its beta-binomial mixture, for other means its empirical Bernstein mixture.

Target: at alpha = 5 % at most 5 % of 10,000 paths are missed.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from benchmarks import _bounds
from benchmarks._ask import at_least, told
from benchmarks._result import report, table
from benchmarks.latency import exact_bounds
from weigh.choice import UsageError
from weigh.scale import interval as scale
from weigh.scale.bets import FRACTIONS, PRIOR
from weigh.scale.serial import SerialMeanSequence, running_bounds
from weigh.scale.series import WHOLE, Account, MeanSeries, QuantileSeries, Series

Array = NDArray[np.float64]
ALPHA = 0.05
CHUNK = 200
WIDE = 25
LOOKS = 20
OPENED = 64


class Bound(Protocol):
    """A confidence sequence as a case uses it."""

    def missed(self, x: Array, truth: float) -> NDArray[np.bool_]:
        """Which paths were ever missed; `x` has shape (paths, n)."""

    def width(self, x: Array) -> float:
        """Of the interval after all of `x`, shape (n,)."""


@dataclass(frozen=True)
class Case:
    """Paths with a known truth, and what is said to hold for them.

    Attributes:
        name: of the values and of what bounds them.
        draw: so many paths, shape (paths, n).
        truth: the mean, the quantile or the median ratio.
        bound: the confidence sequence.
        rivals: widths of Hoeffding's bound and of confseq's after values x; NaN where there is none.
    """

    name: str
    draw: Callable[[Generator, int], Array]
    truth: float
    bound: Bound
    rivals: Callable[[Array], tuple[float, float]] = lambda x: (math.nan, math.nan)


# what bounds them


@dataclass(frozen=True)
class Bets:
    """What a race bets on a mean in [0, 1]."""

    population: int | None = None

    def missed(self, x: Array, truth: float) -> NDArray[np.bool_]:
        held = _bounds.ever(x, truth, FRACTIONS, PRIOR, self.population)
        reached: NDArray[np.bool_] = held.max(axis=1) >= math.log(2.0 / ALPHA)
        return reached

    def width(self, x: Array) -> float:
        return _interval(of_mean(self.population)(), x).width


@dataclass(frozen=True)
class Looked:
    """The bets of a race, looked at again and again.

    Args:
        make: fresh ones.
        later: half of the error rate is bet from the 64th value on, on what suits the values until then.
    """

    make: Callable[[], OfRace]
    later: bool = False

    def missed(self, x: Array, truth: float) -> NDArray[np.bool_]:
        return np.array([self._ever(path, truth) for path in x])

    def _ever(self, path: Array, truth: float) -> bool:
        made = self.make()
        for part in np.split(path, _looks(path.size)):
            made.update(part)
            if self.later and made.series.n >= OPENED:
                made.open(truth)
            if made.excludes(truth):
                return True
        return False

    def width(self, x: Array) -> float:
        return _interval(self.make(), x).width


class Serial:
    """The mean of a series over time, after each value."""

    def missed(self, x: Array, truth: float) -> NDArray[np.bool_]:
        bounds = [running_bounds(path, ALPHA, 0.5) for path in x]
        return np.array([bool(np.any(np.abs(means - truth)[7:] > halves[7:])) for means, halves in bounds])

    def width(self, x: Array) -> float:
        return _interval(SerialMeanSequence(ALPHA, -5.0, 5.0), x).width


class OfRace(scale.Sequence):
    """A series that a race bets on, fed by hand.

    Args:
        make: the series, from what gives it the values that it has not seen.
    """

    def __init__(self, make: Callable[[Callable[[], list[Array]]], Series]) -> None:
        self._waiting: list[Array] = []
        self._accounts = {0: list(WHOLE), 1: list(WHOLE)}
        self.series = make(self._unseen)

    def _unseen(self) -> list[Array]:
        taken, self._waiting = self._waiting, []
        return taken

    def update(self, values: ArrayLike) -> None:
        self._waiting.append(np.asarray(values, dtype=np.float64))
        self.series.advance()

    def interval(self) -> scale.Interval:
        return self.series.interval(ALPHA)

    def open(self, truth: float) -> None:
        """Bet half of the error rate against the truth from here on, once."""
        for side, accounts in self._accounts.items():
            if len(accounts) == 1:
                accounts[:] = Account(0.5), self.series.open(truth, side, 0.5)

    def excludes(self, truth: float) -> bool:
        """Whether the interval leaves it out."""
        held = [self.series.evidence(truth, side, accounts) for side, accounts in self._accounts.items()]
        return max(held) >= math.log(2.0 / ALPHA)


def _interval(made: scale.Sequence, values: Array) -> scale.Interval:
    made.update(values)
    return made.interval()


def _looks(n: int) -> NDArray[np.intp]:
    """Where a path of n values is cut: the first look after 16, each later one after as many times more."""
    return np.unique(np.geomspace(16, n, LOOKS).astype(np.intp))[:-1]


def of_mean(population: int | None = None) -> Callable[[], OfRace]:
    """What a race bets on a mean in [0, 1], as its series rounds values."""
    return lambda: OfRace(lambda new: MeanSeries(new, 0.0, 1.0, population))


def of_quantile(q: float, positive: bool = False) -> Callable[[], OfRace]:
    """What it bets on a quantile."""
    return lambda: OfRace(lambda new: QuantileSeries(new, q, "quantile", positive))


# what they are compared with


def beside_mean(x: Array) -> tuple[float, float]:
    binary = bool(np.all((x == 0) | (x == 1)))
    low, high = _bounds.confseq_share(int(x.sum()), x.size, ALPHA) if binary else _bounds.confseq_mean(x, ALPHA)
    mean, half = float(x.mean()), _bounds.hoeffding(x.size, ALPHA)
    return min(mean + half, 1.0) - max(mean - half, 0.0), high - low


def beside_quantile(q: float) -> Callable[[Array], tuple[float, float]]:
    """Order statistics at the ranks that a bound for shares leaves open."""

    def widths(x: Array) -> tuple[float, float]:
        half = _bounds.hoeffding(x.size, ALPHA)
        low, high = _bounds.confseq_share(round(q * x.size), x.size, ALPHA)
        return _bounds.between(x, q - half, q + half), _bounds.between(x, low, high)

    return widths


# cases


def bernoulli(p: float, n: int = 1000) -> list[Case]:
    """0/1 values."""
    return _means(f"bernoulli {p:g}", lambda rng, paths, n: (rng.random((paths, n)) < p) * 1.0, p, n)


def skewed(n: int = 1000) -> list[Case]:
    """Beta(0.2, 2): most values near 0."""
    return _means("beta 0.2 2", lambda rng, paths, n: rng.beta(0.2, 2.0, (paths, n)), 0.2 / 2.2, n)


def rare(n: int = 1000, chance: float = 0.005) -> list[Case]:
    """Small values, and one in two hundred that is 1."""

    def draw(rng: Generator, paths: int, n: int) -> Array:
        return np.where(rng.random((paths, n)) < chance, 1.0, 0.02 * rng.random((paths, n)))

    return _means("rare large", draw, chance + (1.0 - chance) * 0.01, n)


def _means(name: str, draw: Callable[[Generator, int, int], Array], truth: float, n: int) -> list[Case]:
    """After each value, and as looks of a race that bets half of the error rate later, once it has seen some."""

    def of(rng: Generator, paths: int) -> Array:
        return draw(rng, paths, n)

    return [
        Case(name, of, truth, Bets(), beside_mean),
        Case(f"{name}, later", of, truth, Looked(of_mean(), later=True)),
    ]


def finite(population: int = 2000) -> list[Case]:
    """Without replacement, to the last member: 0/1 values, and skewed ones."""
    members = np.random.default_rng(0).beta(0.2, 2.0, population)
    binary = (np.arange(population) < 0.1 * population) * 1.0
    found: list[Case] = []
    for name, values in (("finite 0/1", binary), ("finite beta", members)):
        draw, truth = _shuffled(values), float(values.mean())
        found.append(Case(name, draw, truth, Bets(population), beside_mean))
        found.append(Case(f"{name}, later", draw, truth, Looked(of_mean(population), later=True)))
    return found


def _shuffled(members: Array) -> Callable[[Generator, int], Array]:
    return lambda rng, paths: rng.permuted(np.tile(members, (paths, 1)), axis=1)


def heavy(n: int = 1000) -> list[Case]:
    """Quantiles of values whose mean or variance does not exist."""
    return [
        *_quantiles("cauchy p50", lambda rng, paths: rng.standard_cauchy((paths, n)), 0.5, 0.0),
        *_quantiles("pareto p95", lambda rng, paths: 1.0 + rng.pareto(1.2, (paths, n)), 0.95, 0.05 ** (-1 / 1.2)),
    ]


def _quantiles(name: str, draw: Callable[[Generator, int], Array], q: float, truth: float) -> list[Case]:
    return [
        Case(name, draw, truth, Looked(of_quantile(q)), beside_quantile(q)),
        Case(f"{name}, later", draw, truth, Looked(of_quantile(q), later=True)),
    ]


def ticks(n: int = 1000) -> list[Case]:
    """Times of a coarse clock: a quantile that many values equal."""
    shares = (0.85, 0.11, 0.04)
    return _quantiles("ticks p95", lambda rng, paths: rng.choice([1.0, 2.0, 3.0], (paths, n), p=shares), 0.95, 2.0)


def duets(coefficient: float, n: int = 1000) -> list[Case]:
    """Log-normal ratios of times whose logarithms are AR(1)."""
    name, draw = f"duet ratios AR {coefficient:g}", lambda rng, paths: np.exp(0.1 * ar(rng, paths, n, coefficient))
    return [
        Case(name, draw, 1.0, Looked(of_quantile(0.5, positive=True))),
        Case(f"{name}, later", draw, 1.0, Looked(of_quantile(0.5, positive=True), later=True)),
    ]


def serial(coefficient: float, n: int = 300) -> list[Case]:
    """Weekly means of a policy: AR(1)."""
    return [Case(f"serial AR {coefficient:g}", lambda rng, paths: ar(rng, paths, n, coefficient), 0.0, Serial())]


def ar(rng: Generator, paths: int, n: int, coefficient: float) -> Array:
    """Stationary Gaussian AR(1) series of variance 1, shape (paths, n)."""
    x = rng.standard_normal((paths, n))
    x[:, 1:] *= math.sqrt(1.0 - coefficient**2)
    for t in range(1, n):
        x[:, t] += coefficient * x[:, t - 1]
    return x


def cases() -> list[Case]:
    """All of them."""
    means = [*bernoulli(0.5), *bernoulli(0.1), *bernoulli(0.01), *skewed(), *rare(), *finite()]
    return [*means, *heavy(), *ticks(), *duets(0.0), *duets(0.5), *duets(0.8), *serial(0.0), *serial(0.5)]


# what is found


@dataclass(frozen=True)
class Found:
    """Misses of a case, and median widths of its bound, of Hoeffding's and of confseq's after so many values."""

    misses: int
    paths: int
    widths: dict[int, tuple[float, float, float]]

    @property
    def upper(self) -> float:
        """The upper 95 % bound of the share of misses, by Clopper and Pearson."""
        return exact_bounds(self.misses, self.paths)[1]

    def ratio(self, rival: int) -> float:
        """Width by the rival's, in the median over the times at which both are finite."""
        ratios = [widths[0] / widths[rival] for widths in self.widths.values() if 0 < widths[rival] < math.inf]
        finite_ones = [ratio for ratio in ratios if math.isfinite(ratio)]
        return float(np.median(finite_ones)) if finite_ones else math.nan


def measure(case: Case, paths: int, pool: Executor | None = None) -> Found:
    """Draw, count, and measure widths on the first paths; a pool counts for the cases of this file only."""
    starts = range(0, paths, CHUNK)
    if pool is None:
        misses = [count(case, start, paths) for start in starts]
    else:
        misses = list(pool.map(_count, [case.name] * len(starts), starts, [paths] * len(starts)))
    x = case.draw(np.random.default_rng(0), WIDE)
    return Found(sum(misses), paths, {n: _widths(case, x[:, :n]) for n in _times(x.shape[1])})


def count(case: Case, start: int, paths: int) -> int:
    """How many of up to `CHUNK` paths from the start-th on were missed."""
    x = case.draw(np.random.default_rng([1, start]), min(CHUNK, paths - start))
    return int(case.bound.missed(x, case.truth).sum())


def _count(name: str, start: int, paths: int) -> int:
    return count(next(case for case in cases() if case.name == name), start, paths)


def _times(n: int) -> Sequence[int]:
    return (n // 10, 3 * n // 10, 9 * n // 10)


def _widths(case: Case, x: Array) -> tuple[float, float, float]:
    told = np.median([(case.bound.width(path), *case.rivals(path)) for path in x], axis=0)
    return float(told[0]), float(told[1]), float(told[2])


def named(start: str) -> list[Case]:
    """The cases whose names begin like this.

    Raises:
        UsageError: there are none.
    """
    found = [case for case in cases() if case.name.startswith(start)]
    if not found:
        raise UsageError(f"no case is called {start}...: there are {'; '.join(case.name for case in cases())}")
    return found


def main() -> None:
    """Measure, print, write."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--paths", type=at_least(1), default=10_000)
    arguments.add_argument("--workers", type=at_least(1), default=2, help="processes")
    arguments.add_argument("--only", default="", help="cases whose names begin like this; nothing is then written")
    asked = arguments.parse_args()
    with told():
        chosen = named(asked.only)
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if not _bounds.CONFSEQ:
        print(_bounds.HOW)
    figures: dict[str, object] = {"alpha": ALPHA, "paths": asked.paths, "confseq": _bounds.CONFSEQ}
    rows, uppers = [], []
    with ProcessPoolExecutor(asked.workers, mp_context=get_context("spawn")) as pool:
        for case in chosen:
            start, found = time.perf_counter(), measure(case, asked.paths, pool)
            uppers.append(found.upper)
            shown = [f"{widths[0]:.3g}" for widths in found.widths.values()]
            rows.append((case.name, found.misses / asked.paths, found.upper, *shown, found.ratio(1), found.ratio(2)))
            figures |= _figures(case, found)
            print(
                f"{case.name}: {found.misses} of {asked.paths} missed, {time.perf_counter() - start:.0f} s", flush=True
            )
    columns = ("case", "missed", "at most", "width at 10 %", "at 30 %", "at 90 % of n", "/ Hoeffding", "/ confseq")
    table(columns, rows)
    figures |= {"cases": len(rows), "miss_upper_max": max(uppers)}
    if not asked.only:
        report("coverage", figures)


def _figures(case: Case, found: Found) -> dict[str, object]:
    key = "".join(letter if letter.isalnum() else "_" for letter in case.name.replace(", ", "__"))
    told = {"miss_rate": found.misses / found.paths, "miss_upper": found.upper}
    ratios = {"width_ratio_hoeffding": found.ratio(1), "width_ratio_confseq": found.ratio(2)}
    told |= {name: round(ratio, 4) for name, ratio in ratios.items() if math.isfinite(ratio)}
    return {f"{key}__{name}": value for name, value in told.items()}


if __name__ == "__main__":
    main()
