"""Every series and interval of a race: kept up to date as blocks arrive, each value read once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from weigh.scale.gauge import Gauge
from weigh.scale.interval import Interval
from weigh.scale.interval import Sequence as ConfidenceSequence
from weigh.scale.ratio import paired_ratios
from weigh.scale.series import WHOLE, Account, MeanSeries, QuantileSeries, Series

Array: TypeAlias = NDArray[np.float64]
Relative: TypeAlias = Literal["", "difference", "ratio"]


@dataclass(slots=True)
class Values:
    """What was measured of one option: the blocks in order, and by gauge one array a block."""

    blocks: list[int]
    by_gauge: dict[str, list[Array]]


class Subject(NamedTuple):
    """What a claim is about: one option on a gauge, or its difference or ratio to a rival."""

    name: str
    gauge: str
    relative: Relative = ""
    rival: str = ""

    def reversed(self) -> Subject:
        """The rival against the option."""
        return Subject(self.rival, self.gauge, self.relative, self.name)


class View(NamedTuple):
    """A series as a subject sees it: pairs are kept one way round and read both ways."""

    series: Series
    flip: Relative = ""

    def bound(self, bound: float) -> float:
        """A bound of the subject as the series has it."""
        if self.flip == "difference":
            return -bound
        return (1.0 / bound if bound else math.inf) if self.flip else bound

    def side(self, side: int) -> int:
        """A side of the subject as the series has it."""
        return 1 - side if self.flip else side

    def interval(self, alpha: float, lower: Sequence[Account] = WHOLE, upper: Sequence[Account] = WHOLE) -> Interval:
        """The interval of the subject."""
        if not self.flip:
            return self.series.interval(alpha, lower, upper)
        return mapped(self.series.interval(alpha, upper, lower), self.bound)


class Tracks:
    """Levels of options and differences or ratios of two, on any gauge."""

    def __init__(self, values: Mapping[str, Values], gauges: Mapping[str, Gauge]) -> None:
        self._values_of, self._gauges = values, gauges
        self._places = {name: place for place, name in enumerate(values)}
        self._series: dict[Subject, Series] = {}
        self._sequences: dict[tuple[Subject, float], tuple[ConfidenceSequence, Callable[[], list[Array]]]] = {}

    def known(self, subject: Subject) -> bool:
        """Whether it is known without error: an exact measure, or an option against itself."""
        return subject.name == subject.rival or self._gauges[subject.gauge].kind == "exact"

    def bets(self, subject: Subject) -> bool:
        """Whether bets are made on it; what is not known either has intervals only."""
        gauge = self._gauges[subject.gauge]
        return not (self.known(subject) or gauge.serial or (subject.relative and gauge.kind == "quantile"))

    def view(self, subject: Subject) -> View:
        """The series that bets read, up to date, of a subject that they are made on."""
        flip = bool(subject.relative) and self._places[subject.name] > self._places[subject.rival]
        kept = subject.reversed() if flip else subject
        if kept not in self._series:
            self._series[kept] = self._made(kept, self._gauges[kept.gauge])
        self._series[kept].advance()
        return View(self._series[kept], subject.relative if flip else "")

    def interval(self, subject: Subject, alpha: float) -> Interval:
        """An interval at `alpha`, all of it bet from the first value on."""
        if self.known(subject):
            return self._exact(subject)
        if self.bets(subject):
            return self.view(subject).interval(alpha)
        if subject.relative and self._gauges[subject.gauge].kind == "quantile":
            mine = self.interval(Subject(subject.name, subject.gauge), alpha / 2)
            theirs = self.interval(Subject(subject.rival, subject.gauge), alpha / 2)
            return _combine(mine, theirs, subject.relative, alpha)
        return self._serial(subject, alpha)

    def _exact(self, subject: Subject) -> Interval:
        if subject.name == subject.rival:
            return exact(0.0 if subject.relative == "difference" else 1.0)
        mine = exact(self._first(subject.name, subject.gauge))
        if not subject.relative:
            return mine
        return _combine(mine, exact(self._first(subject.rival, subject.gauge)), subject.relative, 0.0)

    def _made(self, subject: Subject, gauge: Gauge) -> Series:
        unseen = self._unseen(subject)
        if gauge.kind == "mean":
            return MeanSeries(unseen, *gauge.ends(bool(subject.relative)), gauge.population)
        if subject.relative:
            return QuantileSeries(unseen, 0.5, "median of paired ratios (arXiv 2001.05811)")
        q = gauge.q if gauge.kind == "quantile" else 0.5
        return QuantileSeries(unseen, q, f"{q:g}-quantile", positive=gauge.kind == "time")

    def _serial(self, subject: Subject, alpha: float) -> Interval:
        if subject.relative and self._places[subject.name] > self._places[subject.rival]:
            return mapped(self._serial(subject.reversed(), alpha), lambda x: -x)
        if (subject, alpha) not in self._sequences:
            made = self._gauges[subject.gauge].sequence(alpha, bool(subject.relative))
            self._sequences[subject, alpha] = made, self._unseen(subject)
        sequence, unseen = self._sequences[subject, alpha]
        if arrays := unseen():
            sequence.update(np.concatenate(arrays))
        return sequence.interval()

    def _unseen(self, subject: Subject) -> Callable[[], list[Array]]:
        if not subject.relative:
            return self._values(subject.name, subject.gauge)
        how = np.subtract if subject.relative == "difference" else paired_ratios
        return self._paired(subject.name, subject.rival, subject.gauge, how)

    def _values(self, name: str, gauge: str) -> Callable[[], list[Array]]:
        values, seen = self._values_of[name], 0

        def unseen() -> list[Array]:
            nonlocal seen
            new = values.by_gauge.get(gauge, [])[seen:]
            seen += len(new)
            return new

        return unseen

    def _paired(
        self, name: str, rival: str, gauge: str, how: Callable[[Array, Array], Array]
    ) -> Callable[[], list[Array]]:
        """Pairs of the blocks that both have and that were not given before, in order of blocks."""
        mine, theirs, here, there = self._values_of[name], self._values_of[rival], 0, 0

        def unseen() -> list[Array]:
            nonlocal here, there
            pairs = []
            while here < len(mine.blocks) and there < len(theirs.blocks):
                block, other = mine.blocks[here], theirs.blocks[there]
                if block == other:
                    x, y = mine.by_gauge[gauge][here], theirs.by_gauge[gauge][there]
                    if x.shape != y.shape:
                        sizes = f"{name} gave {x.size} values on block {block}, {rival} {y.size}"
                        raise ValueError(f"{gauge}: {sizes}; pairs need as many")
                    pairs.append(how(x, y))
                here, there = here + (block <= other), there + (other <= block)
            return pairs

        return unseen

    def _first(self, name: str, gauge: str) -> float:
        arrays = self._values_of[name].by_gauge.get(gauge)
        return float(arrays[0][0]) if arrays else math.nan


def exact(value: float) -> Interval:
    if math.isnan(value):
        return Interval(-math.inf, math.inf, math.nan, 0, 0.0, "exact", True, "not measured yet")
    return Interval(value, value, value, 1, 0.0, "exact", True, "none: measured without error")


def mapped(interval: Interval, how: Callable[[float], float]) -> Interval:
    ends = sorted((how(interval.low), how(interval.high)))
    return replace(interval, low=ends[0], high=ends[1], estimate=how(interval.estimate))


def _combine(mine: Interval, theirs: Interval, relative: Relative, alpha: float) -> Interval:
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
