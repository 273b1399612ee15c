"""Races over blocks: options are dropped as soon as the evidence allows, under one stated error rate.

How the risk `alpha` is spent (union bound; K options, m random limits):

- shipping a violator is wrong only if a violated limit is certified as met: K claims at alpha / 2K;
- losing the best is wrong only if one of K - 1 rivals is certified better, or one of m limits is
  certified as broken: alpha / 2(K - 1 + m) each.

Every claim rests on a confidence sequence, so looking after each block costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weigh.scale.interval import Interval
from weigh.scale.interval import Sequence as ConfidenceSequence
from weigh.scale.mean import MeanSequence
from weigh.scale.quantile import QuantileSequence
from weigh.scale.ratio import RatioSequence, paired_ratios
from weigh.scale.serial import SerialMeanSequence

Array: TypeAlias = NDArray[np.float64]
State: TypeAlias = Literal["live", "violates", "dominated", "failed"]


@dataclass(frozen=True, slots=True)
class Gauge:
    """One measure as the scale sees it; see `weigh.choice.Measure` for the kinds."""

    name: str
    kind: Literal["exact", "mean", "quantile", "time"]
    better: Literal["lower", "higher"]
    low: float = 0.0
    high: float = 1.0
    q: float = 0.5
    serial: bool = False
    population: int | None = None

    @property
    def compared_by_ratio(self) -> bool:
        return self.kind in ("time", "quantile")

    def level(self, alpha: float) -> ConfidenceSequence:
        """A fresh confidence sequence for the value itself."""
        if self.kind == "mean":
            return self._mean(alpha, self.low, self.high)
        return QuantileSequence(self.q if self.kind == "quantile" else 0.5, alpha)

    def difference(self, alpha: float) -> ConfidenceSequence:
        """A fresh confidence sequence for the paired difference of two options."""
        span = self.high - self.low
        return self._mean(alpha, -span, span)

    def _mean(self, alpha: float, low: float, high: float) -> ConfidenceSequence:
        if self.serial:
            return SerialMeanSequence(alpha, low, high)
        return MeanSequence(alpha, low, high, population=self.population)


@dataclass(frozen=True, slots=True)
class Limit:
    """A constraint: the value itself, or its difference or ratio to the baseline's, against a bound."""

    gauge: str
    op: Literal["<=", ">="]
    bound: float
    relative: Literal["", "difference", "ratio"] = ""

    def met(self, interval: Interval) -> bool:
        return interval.high <= self.bound if self.op == "<=" else interval.low >= self.bound

    def broken(self, interval: Interval) -> bool:
        return interval.low > self.bound if self.op == "<=" else interval.high < self.bound


@dataclass(slots=True)
class Runner:
    """Where one option stands in the race."""

    state: State = "live"
    reason: str = ""
    block: int | None = None
    by: str = ""
    limit: Limit | None = None
    values: dict[str, list[Array]] = field(default_factory=dict)
    blocks: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Track:
    sequence: ConfidenceSequence
    source: Callable[[int], Array | None]
    seen: int = 0

    def advance(self) -> Interval:
        unseen: list[Array] = []
        while (values := self.source(self.seen)) is not None:
            unseen.append(values)
            self.seen += 1
        if unseen:
            self.sequence.update(np.concatenate(unseen))
        return self.sequence.interval()


class Race:
    """Options, measured block by block, paired, and judged after each block.

    Args:
        options: names of the options, the baseline among them.
        baseline: what relative limits refer to, and what a tie falls back to.
        gauges: the measures.
        limits: the constraints.
        objective: the gauge that is optimised.
        alpha: probability of a wrong verdict (a violator shipped or the best one lost), at most.
        epsilon: differences in the objective up to this do not matter (relative for times and quantiles).
    """

    def __init__(
        self,
        options: Sequence[str],
        baseline: str,
        gauges: Sequence[Gauge],
        limits: Sequence[Limit],
        objective: str,
        alpha: float,
        epsilon: float,
    ) -> None:
        self.runners = {name: Runner() for name in options}
        self.baseline = baseline
        self.gauges = {gauge.name: gauge for gauge in gauges}
        self.limits = tuple(limits)
        self.objective = self.gauges[objective]
        self.alpha, self.epsilon = alpha, epsilon
        random_limits = sum(self.gauges[limit.gauge].kind != "exact" for limit in limits)
        self._each = alpha / max(len(options), len(options) - 1 + random_limits)
        self._tracks: dict[tuple[object, ...], _Track] = {}

    # what happened

    def add(self, block: int, measured: Mapping[str, Mapping[str, ArrayLike]]) -> None:
        """One block's values, by option and gauge (an exact gauge gives one number)."""
        for option, values in measured.items():
            runner = self.runners[option]
            runner.blocks.append(block)
            for gauge, numbers in values.items():
                runner.values.setdefault(gauge, []).append(np.atleast_1d(np.asarray(numbers, dtype=np.float64)))

    def fail(self, option: str, reason: str, block: int) -> None:
        """The option could not be measured: it leaves the race."""
        self._drop(option, "failed", block, reason)

    # what it means

    def judge(self, block: int) -> None:
        """Drop what the evidence so far excludes."""
        for name in self.live():
            for limit in self.limits:
                interval = self.limit_interval(name, limit)
                if limit.broken(interval):
                    self._drop(name, "violates", block, limit=limit)
                    break
        feasible = [name for name in self.live() if self.feasible(name)]
        for winner in sorted(feasible, key=self.rank):
            for name in self.live():
                if name != winner and self.advantage(winner, name).low > 0:
                    self._drop(name, "dominated", block, by=winner)

    def live(self) -> list[str]:
        """Options that the evidence has not excluded."""
        return [name for name, runner in self.runners.items() if runner.state == "live"]

    def wanted(self) -> list[str]:
        """Options that the next block must measure: the live ones, and the baseline where limits refer to it."""
        names = self.live()
        relative = any(limit.relative for limit in self.limits)
        if relative and self.baseline not in names and self.runners[self.baseline].state != "failed":
            names.append(self.baseline)
        return names

    def feasible(self, name: str) -> bool:
        """Every limit is certified as met."""
        return all(limit.met(self.limit_interval(name, limit)) for limit in self.limits)

    def settled(self) -> bool:
        """Nothing that could be measured would change the verdict."""
        live = self.live()
        if not live:
            return True
        if not all(self.feasible(name) for name in live):
            return False
        return len(live) == 1 or self.equivalent(live)

    def equivalent(self, names: Sequence[str]) -> bool:
        """All pairs are certified to lie within epsilon of each other."""
        pairs = ((a, b) for i, a in enumerate(names) for b in names[i + 1 :])
        return all(self._within(self.advantage(a, b)) for a, b in pairs)

    def _within(self, advantage: Interval) -> bool:
        return -self.epsilon <= advantage.low and advantage.high <= self.epsilon

    def _drop(
        self, name: str, state: State, block: int, reason: str = "", by: str = "", limit: Limit | None = None
    ) -> None:
        runner = self.runners[name]
        runner.state, runner.block, runner.reason, runner.by, runner.limit = state, block, reason, by, limit

    def rank(self, name: str) -> float:
        """The option's objective as measured so far, smaller is better."""
        arrays = self.runners[name].values.get(self.objective.name)
        if not arrays:
            return math.inf
        values = np.concatenate(arrays)
        center = values.mean() if self.objective.kind == "mean" else np.quantile(values, self.objective.q)
        return float(center if self.objective.better == "lower" else -center)

    # intervals

    def level(self, name: str, gauge: str, alpha: float | None = None) -> Interval:
        """The value of one option on one gauge; at the race's alpha for itself unless another is given."""
        made = self.gauges[gauge]
        if made.kind == "exact":
            return _exact(self._first(name, gauge))
        alpha = alpha or self.alpha
        return self._track(("level", name, gauge, alpha), lambda: made.level(alpha), self._values(name, gauge))

    def limit_interval(self, name: str, limit: Limit) -> Interval:
        """What `limit` bounds, for one option, at the level that the race pays for it."""
        if not limit.relative:
            return self.level(name, limit.gauge, self._each)
        return self._against_baseline(name, limit.gauge, limit.relative, self._each)

    def versus_baseline(self, name: str, gauge: str, alpha: float | None = None) -> Interval:
        """Difference (means, exact) or ratio (times, quantiles) to the baseline, for people to read."""
        relative: Literal["difference", "ratio"] = "ratio" if self.gauges[gauge].compared_by_ratio else "difference"
        return self._against_baseline(name, gauge, relative, alpha or self.alpha)

    def _against_baseline(
        self, name: str, gauge: str, relative: Literal["difference", "ratio"], alpha: float
    ) -> Interval:
        return self._pair(name, self.baseline, gauge, relative, alpha)

    def advantage(self, name: str, rival: str) -> Interval:
        """How much better `name` is than `rival` in the objective: positive is better.

        A difference in the objective's unit; for times and quantiles the relative gain (0.1 is 10 %).
        """
        gauge = self.objective
        relative: Literal["difference", "ratio"] = "ratio" if gauge.compared_by_ratio else "difference"
        pair = self._pair(name, rival, gauge.name, relative, self._each)
        if relative == "ratio":
            pair = _map(pair, lambda ratio: ratio - 1.0)
        return _map(pair, lambda gain: -gain) if gauge.better == "lower" else pair

    def _pair(
        self, name: str, rival: str, gauge: str, relative: Literal["difference", "ratio"], alpha: float
    ) -> Interval:
        made = self.gauges[gauge]
        if name == rival:
            return _exact(0.0 if relative == "difference" else 1.0)
        if made.kind == "mean" and relative == "difference":
            source = self._paired(name, rival, gauge, np.subtract)
            return self._track(("difference", name, rival, gauge, alpha), lambda: made.difference(alpha), source)
        if made.kind == "time" and relative == "ratio":
            source = self._paired(name, rival, gauge, paired_ratios)
            return self._track(("ratio", name, rival, gauge, alpha), lambda: RatioSequence(alpha), source)
        return _combine(self.level(name, gauge, alpha / 2), self.level(rival, gauge, alpha / 2), relative, alpha)

    def _track(
        self, key: tuple[object, ...], make: Callable[[], ConfidenceSequence], source: Callable[[int], Array | None]
    ) -> Interval:
        if key not in self._tracks:
            self._tracks[key] = _Track(make(), source)
        return self._tracks[key].advance()

    def _values(self, name: str, gauge: str) -> Callable[[int], Array | None]:
        runner = self.runners[name]

        def source(position: int) -> Array | None:
            arrays = runner.values.get(gauge, [])
            return arrays[position] if position < len(arrays) else None

        return source

    def _paired(
        self, name: str, rival: str, gauge: str, how: Callable[[Array, Array], Array]
    ) -> Callable[[int], Array | None]:
        mine, theirs = self.runners[name], self.runners[rival]

        def source(position: int) -> Array | None:
            if (
                position >= min(len(mine.blocks), len(theirs.blocks))
                or mine.blocks[position] != theirs.blocks[position]
            ):
                return None
            x, y = mine.values[gauge][position], theirs.values[gauge][position]
            if x.shape != y.shape:
                raise ValueError(
                    f"{gauge}: {name} gave {x.size} values on block {mine.blocks[position]}, {rival} {y.size}; "
                    "pairs need as many"
                )
            return how(x, y)

        return source

    def _first(self, name: str, gauge: str) -> float:
        arrays = self.runners[name].values.get(gauge)
        return float(arrays[0][0]) if arrays else math.nan

    def blocks_to_settle(self, name: str, limit: Limit) -> int | None:
        """About how many more blocks would decide whether `name` meets `limit`; None when no number would."""
        interval = self.limit_interval(name, limit)
        return _more(len(self.runners[name].blocks), interval, limit.bound, 0.0)

    def blocks_to_separate(self, name: str, rival: str) -> int | None:
        """About how many more blocks would tell `name` from `rival`, or show them within epsilon."""
        return _more(len(self.runners[name].blocks), self.advantage(name, rival), 0.0, self.epsilon)


_FARTHEST = 100
"""Times the blocks so far, beyond which how many more would settle it is anybody's guess."""


def _more(blocks: int, interval: Interval, bound: float, slack: float) -> int | None:
    half = interval.width / 2
    gap = abs(interval.estimate - bound)
    room = max(gap, slack - gap)
    if not (math.isfinite(half) and math.isfinite(room)) or room <= 0 or blocks == 0:
        return None
    more = math.ceil(blocks * (half / room) ** 2) - blocks
    return max(1, more) if more <= _FARTHEST * blocks else None


def _exact(value: float) -> Interval:
    if math.isnan(value):
        return Interval(-math.inf, math.inf, math.nan, 0, 0.0, "exact", True, "not measured yet")
    return Interval(value, value, value, 1, 0.0, "exact", True, "none: measured without error")


def _map(interval: Interval, how: Callable[[float], float]) -> Interval:
    ends = sorted((how(interval.low), how(interval.high)))
    return replace(interval, low=ends[0], high=ends[1], estimate=how(interval.estimate))


def _combine(mine: Interval, theirs: Interval, relative: Literal["difference", "ratio"], alpha: float) -> Interval:
    """Interval arithmetic on two separate intervals: valid whatever their dependence."""
    if relative == "difference":
        low, high, estimate = mine.low - theirs.high, mine.high - theirs.low, mine.estimate - theirs.estimate
    else:
        low = max(mine.low, 0.0) / theirs.high if theirs.high > 0 else 0.0
        high = mine.high / theirs.low if theirs.low > 0 else math.inf
        estimate = mine.estimate / theirs.estimate if theirs.estimate else math.nan
    low, high = (-math.inf if math.isnan(low) else low), (math.inf if math.isnan(high) else high)
    n, exact = min(mine.n, theirs.n), mine.exact and theirs.exact
    assumption = mine.assumption if mine.assumption == theirs.assumption else f"{mine.assumption}; {theirs.assumption}"
    method = mine.method if mine.method == "exact" == theirs.method else f"{mine.method}, two intervals combined"
    return Interval(low, high, estimate, n, alpha, method, exact, assumption)
