"""Every interval of a race: kept up to date as blocks arrive, each value read once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from weigh.scale.gauge import Gauge
from weigh.scale.interval import Interval
from weigh.scale.interval import Sequence as ConfidenceSequence
from weigh.scale.ratio import RatioSequence, paired_ratios

Array: TypeAlias = NDArray[np.float64]
Relative: TypeAlias = Literal["difference", "ratio"]


@dataclass(slots=True)
class Values:
    """What was measured of one option: the blocks in order, and by gauge one array a block."""

    blocks: list[int]
    by_gauge: dict[str, list[Array]]


@dataclass(slots=True)
class _Track:
    sequence: ConfidenceSequence
    unseen: Callable[[], list[Array]]

    def advance(self) -> Interval:
        if arrays := self.unseen():
            self.sequence.update(np.concatenate(arrays))
        return self.sequence.interval()


class Tracks:
    """Levels of options and differences or ratios of two, on any gauge, at any error rate."""

    def __init__(self, values: Mapping[str, Values], gauges: Mapping[str, Gauge]) -> None:
        self._values_of, self._gauges = values, gauges
        self._places = {name: place for place, name in enumerate(values)}
        self._tracks: dict[tuple[object, ...], _Track] = {}

    def level(self, name: str, gauge: str, alpha: float) -> Interval:
        """The value of one option on one gauge."""
        made = self._gauges[gauge]
        if made.kind == "exact":
            return exact(self._first(name, gauge))
        return self._track(("level", name, gauge, alpha), lambda: made.level(alpha), self._values(name, gauge))

    def pair(
        self, name: str, rival: str, gauge: str, relative: Literal["difference", "ratio"], alpha: float
    ) -> Interval:
        """Difference or ratio of `name` to `rival`, from the blocks that both have."""
        made = self._gauges[gauge]
        if name == rival:
            return exact(0.0 if relative == "difference" else 1.0)
        if made.kind not in ("mean", "time"):
            return _combine(self.level(name, gauge, alpha / 2), self.level(rival, gauge, alpha / 2), relative, alpha)
        if self._places[name] > self._places[rival]:  # one track serves both directions
            return mapped(self.pair(rival, name, gauge, relative, alpha), _INVERSE[relative])
        key = (relative, name, rival, gauge, alpha)
        if relative == "difference":
            return self._track(key, lambda: made.difference(alpha), self._paired(name, rival, gauge, np.subtract))
        return self._track(key, lambda: RatioSequence(alpha), self._paired(name, rival, gauge, paired_ratios))

    def _track(
        self, key: tuple[object, ...], make: Callable[[], ConfidenceSequence], unseen: Callable[[], list[Array]]
    ) -> Interval:
        if key not in self._tracks:
            self._tracks[key] = _Track(make(), unseen)
        return self._tracks[key].advance()

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


def _inverse_ratio(ratio: float) -> float:
    return 1.0 / ratio if ratio else math.inf


def _negative(difference: float) -> float:
    return -difference


_INVERSE: Mapping[str, Callable[[float], float]] = {"difference": _negative, "ratio": _inverse_ratio}


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
