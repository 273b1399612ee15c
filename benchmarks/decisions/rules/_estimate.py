"""What every rival shares: a sheet of what was measured, and the point estimate of what a limit bounds."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions.asked import Array, Asked, Meter, Shipped
from weigh.scale.gauge import Gauge, Limit

Places: TypeAlias = NDArray[np.intp]
Relative: TypeAlias = Literal["", "difference", "ratio"]


class Sheet:
    """Options as rows, units as columns; an option has been measured on its first `count` blocks.

    What exact gauges decide is known from the start: options that break an exact limit, or the limit that the baseline
    itself sets, are never measured. Gauges that no limit and no objective speak of are not looked at.

    Args:
        most: estimates look at so many units at most, although blocks are measured whole; None for no limit.
    """

    def __init__(self, asked: Asked, meter: Meter, most: int | None = None) -> None:
        self.asked, self._meter, self._most = asked, meter, most
        self.base = asked.options.index(asked.baseline)
        self.limits = tuple(limit for limit in asked.limits if not self._exact(limit.gauge))
        self.exact = self._exact(asked.objective)
        spoken = [limit.gauge for limit in self.limits] + ([] if self.exact else [asked.objective])
        self.gauges = tuple(dict.fromkeys(spoken))
        shape = (len(asked.options), asked.blocks * asked.block)
        self.values = {gauge: np.empty(shape) for gauge in self.gauges}
        self.count = np.zeros(len(asked.options), dtype=np.intp)
        self._costs: dict[str, Array] = {}
        self.candidates: Places = np.flatnonzero(self._allowed())

    def _exact(self, gauge: str) -> bool:
        return self.asked.gauges[gauge].kind == "exact"

    def _allowed(self) -> NDArray[np.bool_]:
        allowed = np.ones(len(self.asked.options), dtype=bool)
        for limit in self.asked.limits:
            if self._exact(limit.gauge):
                allowed &= self._keeps(limit, self.costs(limit.gauge))
            elif limit.relative:
                neutral = 0.0 if limit.relative == "difference" else 1.0
                allowed[self.base] &= not limit.missed(neutral)
        return allowed

    def _keeps(self, limit: Limit, values: Array) -> NDArray[np.bool_]:
        if limit.relative:
            own = values[self.base]
            values = values - own if limit.relative == "difference" else values / own
        return np.array([not limit.missed(value) for value in values.tolist()])

    def costs(self, gauge: str) -> Array:
        """What an exact gauge says of each option."""
        if gauge not in self._costs:
            self._costs[gauge] = np.array([self.asked.exact[gauge][option] for option in self.asked.options])
        return self._costs[gauge]

    def read(self, places: Sequence[int] | Places) -> None:
        """Measure the next block of some options, which have all been measured on as many, and of the baseline."""
        block = int(self.count[places[0]])
        if not self.gauges or block >= self.asked.blocks:
            return
        who = np.unique(np.append(places, self.base)) if self.count[self.base] == block else np.sort(places)
        measured = self._meter.measure(block, [self.asked.options[place] for place in who])
        columns = slice(block * self.asked.block, (block + 1) * self.asked.block)
        for gauge, values in self.values.items():
            values[who, columns] = stacked(measured, gauge)
        self.count[who] = block + 1

    def units(self, place: int) -> int:
        """How many units an option was measured on."""
        return int(self.count[place]) * self.asked.block

    def pairs(self, gauge: str, places: Places, start: int = 0, stop: int | None = None) -> tuple[Array, Array]:
        """Values of some options from a unit to another, and of the baseline on the same units.

        The options have been measured on as many blocks. Shapes: (options, units) and (units,).
        """
        values, end = self.values[gauge], stop or min(self.units(int(places[0])), self._most or sys.maxsize)
        return values[places, start:end], values[self.base, start:end]

    def slack(self, limit: Limit, places: Places, start: int = 0, stop: int | None = None) -> Array:
        """By how much the point estimates keep to a limit, negative where they miss it; as a share of the gauge's range
        for means, of the bound for others. The baseline keeps to what is relative to it: that was looked at before."""
        gauge = self.asked.gauges[limit.gauge]
        values = estimate(gauge, limit.relative, *self.pairs(limit.gauge, places, start, stop))
        room = limit.bound - values if limit.op == "<=" else values - limit.bound
        room[(places == self.base) & bool(limit.relative)] = np.inf
        scale = gauge.high - gauge.low if gauge.kind == "mean" and limit.relative != "ratio" else abs(limit.bound)
        return room / (scale or 1.0)

    def objective(self, places: Places, start: int = 0, stop: int | None = None) -> Array:
        """The estimated objective, on units from one to another, the smaller the better."""
        gauge = self.asked.gauges[self.asked.objective]
        sign = 1.0 if gauge.better == "lower" else -1.0
        if self.exact:
            return sign * self.costs(gauge.name)[places]
        return sign * estimate(gauge, "", *self.pairs(gauge.name, places, start, stop))

    def ranked(self, places: Places) -> tuple[Places, NDArray[np.bool_]]:
        """Best first, and whether each meets every limit by its estimates, which are those of all that was measured.

        Those that do come first, by their objective; then the others, by how much they miss (Deb, 2000).
        """
        missed, objective = np.zeros(len(places)), np.zeros(len(places))
        for count in np.unique(self.count[places]).tolist():
            here = self.count[places] == count
            objective[here] = self.objective(places[here])
            for limit in self.limits:
                missed[here] -= np.minimum(self.slack(limit, places[here]), 0.0)
        order = np.lexsort((objective, missed))
        return places[order], missed[order] == 0.0

    def ship(self, place: int | None) -> Shipped:
        """Answer with an option, or with the baseline without a claim; what was measured of it is reported."""
        chosen = self.base if place is None else place
        told: dict[str, float] = {}
        for name in self.gauges:
            gauge = self.asked.gauges[name]
            relative: Relative = "ratio" if gauge.compared_by_ratio else "difference"
            if self.count[chosen]:
                told[name] = float(estimate(gauge, relative, *self.pairs(name, np.array([chosen])))[0])
        return Shipped(self.asked.options[chosen], place is not None, told)

    def best(self, places: Places) -> Shipped:
        """Ship the best of some options by the point estimates."""
        if not len(places):
            return self.ship(None)
        order, keeps = self.ranked(places)
        return self.ship(int(order[0]) if keeps[0] else None)


def stacked(measured: object, gauge: str) -> Array:
    """A block's values of one gauge, one row an option; at once where the meter can."""
    if hasattr(measured, "matrix"):
        whole: Array = measured.matrix(gauge)
        return whole
    assert hasattr(measured, "values")
    return np.array([of[gauge] for of in measured.values()])


def estimate(gauge: Gauge, relative: Relative, x: Array, base: Array) -> Array:
    """The point estimate of an option's value, or of its difference or ratio to the baseline's.

    A mean, a quantile, or a median of times. Times are compared round by round: the median of paired ratios.

    Args:
        x: values of options, shape (options, units).
        base: of the baseline on the same units, shape (units,).

    Returns: shape (options,).
    """
    if relative and gauge.kind == "time":
        return np.median(x / base if relative == "ratio" else x - base, axis=1)
    mine = _level(gauge, x)
    if not relative:
        return mine
    theirs = _level(gauge, base[None])[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        return mine - theirs if relative == "difference" else mine / theirs


def _level(gauge: Gauge, x: Array) -> Array:
    if gauge.kind == "mean":
        return x.mean(axis=1)
    rank = math.ceil(x.shape[1] * (gauge.q if gauge.kind == "quantile" else 0.5)) - 1
    return np.partition(x, rank, axis=1)[:, rank]
