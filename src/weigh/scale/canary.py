"""A live canary: the same bets as in a race, one observation at a time, in a state of constant size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self, TypeAlias

import numpy as np

from weigh.scale.bets import Tally, mixed
from weigh.scale.dependence import RunningInflation
from weigh.scale.gauge import Gauge, Limit, checked
from weigh.scale.interval import Interval
from weigh.scale.series import MeanSeries

Arm: TypeAlias = Literal["canary", "control"]
State: TypeAlias = Literal["live", "promote", "roll back"]


@dataclass(slots=True)
class _Watch:
    """What is known of one limit: a tally of values in [0, 1], and what waits for its partner of the other arm."""

    limit: Limit
    gauge: Gauge
    tally: Tally = field(default_factory=Tally)
    inflation: RunningInflation = field(default_factory=RunningInflation)
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0])
    counts: list[int] = field(default_factory=lambda: [0, 0])

    @property
    def bound(self) -> float:
        """The bound, as a mean of values in [0, 1]."""
        if self.gauge.kind == "quantile":
            return 1.0 - self.gauge.q
        low, high = self.ends
        return min(max((self.limit.bound - low) / (high - low), 0.0), 1.0)

    @property
    def ends(self) -> tuple[float, float]:
        """Least and greatest of what the limit bounds."""
        return self.gauge.ends(bool(self.limit.relative))

    def checked(self, value: float) -> float:
        """A value that may be taken: a finite number, of a mean within its range.

        Raises:
            ValueError: it is none.
        """
        number, gauge = float(value), self.gauge
        if not math.isfinite(number) or (gauge.kind == "mean" and not gauge.low <= number <= gauge.high):
            where = f" in [{gauge.low:g}, {gauge.high:g}]" if gauge.kind == "mean" else ""
            raise ValueError(
                f"{gauge.name} = {value} is not a finite number{where}; leave the observation out, or state bounds "
                "that hold for every value"
            )
        return number

    def add(self, arm: Arm, value: float) -> None:
        """Take one value; of a difference, when both arms have some, the difference of their means since the last."""
        if self.gauge.kind == "quantile":
            if arm == "canary":
                self._take(float(value > self.limit.bound))
            return
        place = int(arm == "control")
        self.sums[place] += value
        self.counts[place] += 1
        if not self.limit.relative:
            self.sums, self.counts = [0.0, 0.0], [0, 0]
            if arm == "canary":
                self._take((value - self.ends[0]) / (self.ends[1] - self.ends[0]))
        elif min(self.counts):
            gap = self.sums[0] / self.counts[0] - self.sums[1] / self.counts[1]
            self.sums, self.counts = [0.0, 0.0], [0, 0]
            self._take((gap - self.ends[0]) / (self.ends[1] - self.ends[0]))

    def _take(self, z: float) -> None:
        value = np.array([min(max(z, 0.0), 1.0)])
        self.tally.update(value)
        if self.gauge.kind == "quantile":
            self.inflation.update(value)

    def evidence(self, met: bool) -> float:
        """Log of the evidence that the limit is met, or broken."""
        logs = self.tally.side(self.bound, None, self.limit.side(met))
        return mixed(logs / self.inflation.value) if self.gauge.kind == "quantile" and self.tally.n else mixed(logs)

    def state(self) -> dict[str, Any]:
        """All that it knows, as JSON has it."""
        return {
            "tally": self.tally.state(), "inflation": self.inflation.state(), "sums": self.sums, "counts": self.counts
        }  # fmt: skip


class Canary:
    """Whether a new version keeps to its limits, from live observations of it and of the version that it replaces.

    Requests come to either arm, by chance and not by what they are. After any observation one may look, promote or
    roll back: the chance that a version which breaks a limit is ever promoted is at most alpha, and so is the chance
    that one which meets all limits is ever rolled back. Workers keep one each and join them with `merge`; what is kept
    does not grow with the observations.

    Of a difference to the control each value of one arm is set against the mean of what the other arm gave since the
    last: a canary of 5 % of the traffic uses all of the control's.

    Args:
        gauges: the measures: bounded means, and quantiles against a number (an SLO).
        limits: of means, alone or as a difference to the control; of quantiles, alone.
        alpha: the error rate of each of the two verdicts.

    Raises:
        ValueError: no limit, one that a live canary cannot hold, or an alpha out of (0, 1), with what to state instead.

    >>> canary = Canary([Gauge("errors", "mean", "lower")], [Limit("errors", "<=", 0.1, "difference")], alpha=0.05)
    >>> for request in range(400):
    ...     canary.add("control", {"errors": request % 20 == 0})
    ...     canary.add("canary", {"errors": request % 25 == 0})
    >>> canary.judge()
    'promote'
    """

    def __init__(self, gauges: Sequence[Gauge], limits: Sequence[Limit], alpha: float) -> None:
        checked(gauges, limits, alpha)
        if not limits:
            raise ValueError("a canary without a limit would be promoted unseen: state at least one")
        by_name = {gauge.name: gauge for gauge in gauges}
        self.limits, self.alpha = tuple(limits), alpha
        self._watches = {limit: _Watch(limit, _bounded(by_name[limit.gauge], limit)) for limit in limits}
        self._met: set[Limit] = set()
        self._broken: set[Limit] = set()

    def add(self, arm: Arm, values: Mapping[str, float]) -> None:
        """One observation of one arm: the value of each gauge that it has.

        Raises:
            ValueError: there is no such arm, or a value is no finite number in its gauge's range; nothing is taken.
        """
        if arm not in ("canary", "control"):
            raise ValueError(f"there is no arm {arm!r}: give 'canary' or 'control'")
        taken = [
            (watch, watch.checked(values[limit.gauge]))
            for limit, watch in self._watches.items()
            if limit.gauge in values
        ]
        for watch, value in taken:
            watch.add(arm, value)

    def judge(self) -> State:
        """Promote when every limit is certified as met, roll back when one is certified as broken."""
        for limit in self.limits:
            if self.meets(limit):
                self._met.add(limit)
            if self.breaks(limit):
                self._broken.add(limit)
        if self._broken:
            return "roll back"
        return "promote" if len(self._met) == len(self.limits) else "live"

    def meets(self, limit: Limit) -> bool:
        """The limit is certified as met."""
        return limit in self._met or self._watches[limit].evidence(True) >= -math.log(self.alpha)

    def breaks(self, limit: Limit) -> bool:
        """The limit is certified as broken."""
        return limit in self._broken or self._watches[limit].evidence(False) >= math.log(len(self.limits) / self.alpha)

    def limit_interval(self, limit: Limit) -> Interval:
        """What the limit bounds, at the canary's alpha; of a quantile the share of values beyond the limit."""
        watch = self._watches[limit]
        low, high = (0.0, 1.0) if watch.gauge.kind == "quantile" else watch.ends
        series = MeanSeries(list, low, high, None)
        series.tally, series.n = watch.tally, watch.tally.n
        return series.interval(self.alpha)

    def merge(self, other: Canary) -> None:
        """Add what another worker's canary saw.

        Raises:
            ValueError: it holds other gauges, other limits or another alpha.
        """
        if other._settings() != self._settings():
            raise ValueError("two canaries are joined only if they hold the same limits of the same gauges and alpha")
        for limit, mine in self._watches.items():
            theirs = other._watches[limit]
            mine.tally.merge(theirs.tally)
            mine.inflation.merge(theirs.inflation)
            mine.sums = [a + b for a, b in zip(mine.sums, theirs.sums)]
            mine.counts = [a + b for a, b in zip(mine.counts, theirs.counts)]
        self._met |= other._met
        self._broken |= other._broken

    def state(self) -> dict[str, Any]:
        """All that it knows, as JSON has it; `restore` takes it."""
        places = {limit: place for place, limit in enumerate(self.limits)}
        return {
            "settings": self._settings(),
            "watches": [self._watches[limit].state() for limit in self.limits],
            "met": sorted(places[limit] for limit in self._met),
            "broken": sorted(places[limit] for limit in self._broken),
        }

    def restore(self, state: Mapping[str, Any]) -> Self:
        """Know what was known when `state` was taken, and no more.

        Raises:
            ValueError: it is no state, or that of a canary with other gauges, other limits or another alpha.
        """
        try:
            if list(state["settings"]) != self._settings():
                raise ValueError("its gauges, limits or alpha are others")
            fresh = type(self)([watch.gauge for watch in self._watches.values()], self.limits, self.alpha)
            fresh._take(state)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(
                f"the state cannot be restored ({type(error).__name__}: {error}): give what `state` of a canary with "
                "the same gauges, limits and alpha gave"
            ) from None
        self._watches, self._met, self._broken = fresh._watches, fresh._met, fresh._broken
        return self

    def _settings(self) -> list[Any]:
        """What two canaries must have in common, as JSON has it."""
        return [self.alpha, *([asdict(watch.gauge), asdict(limit)] for limit, watch in self._watches.items())]

    def _take(self, state: Mapping[str, Any]) -> None:
        if len(state["watches"]) != len(self.limits):
            raise ValueError(f"{len(state['watches'])} of {len(self.limits)} limits")
        for limit, kept in zip(self.limits, state["watches"]):
            watch = self._watches[limit]
            watch.tally, watch.inflation = Tally.of(kept["tally"]), RunningInflation.of(kept["inflation"])
            watch.sums, watch.counts = [float(one) for one in kept["sums"]], [int(one) for one in kept["counts"]]
            if len(watch.sums) != 2 or len(watch.counts) != 2 or min(watch.tally.n, *watch.counts) < 0:
                raise ValueError(f"what is kept of {limit.gauge}")
        self._met, self._broken = (
            {self.limits[place] for place in state[name] if place >= 0} for name in ("met", "broken")
        )


def _bounded(gauge: Gauge, limit: Limit) -> Gauge:
    """The gauge, once it is known that the limit can be held live."""
    if gauge.kind == "mean" and limit.relative != "ratio" and not gauge.serial:
        return gauge
    if gauge.kind == "quantile" and not limit.relative:
        return gauge
    what = " ".join(filter(None, (gauge.kind, limit.relative)))
    raise ValueError(
        f"a live canary cannot hold a limit on {gauge.name} ({what}): requests of two arms make no pairs; state a "
        "mean, its difference to the control, or a quantile against a number"
    )
