"""Races over blocks: options are dropped as soon as the evidence allows, under one stated error rate.

How the risk `alpha` is spent (union bound over one-sided claims; K options, m random limits):

- shipping a violator is wrong only if a violated limit is certified as met: K claims, none without random limits;
- losing the best is wrong only if one of K - 1 rivals is certified better than it, or one of m limits is certified as
  broken by it: K - 1 + m claims;
- a tie is wrong only if the best is certified within epsilon of one of K - 1 options and is not: K - 1 claims.

Every claim rests on one end of a confidence sequence, so looking after each block costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from weigh.scale.gauge import Gauge, Limit
from weigh.scale.interval import Interval
from weigh.scale.tracks import Array, Relative, Tracks, Values, mapped

State: TypeAlias = Literal["live", "violates", "dominated", "failed"]


@dataclass(slots=True)
class Runner:
    """Where one option stands in the race."""

    state: State = "live"
    reason: str = ""
    block: int | None = None
    by: str = ""
    limit: Limit | None = None
    measured: Values = field(default_factory=lambda: Values([], {}))

    @property
    def blocks(self) -> list[int]:
        """The blocks on which it was measured, in order."""
        return self.measured.blocks

    @property
    def values(self) -> dict[str, list[Array]]:
        """What was measured, by gauge: one array a block."""
        return self.measured.by_gauge


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
        claims = 2 * (len(options) - 1) + (len(options) + random_limits if random_limits else 0)
        self._each = min(alpha, 2 * alpha / max(claims, 1))
        self._tracks = Tracks({name: runner.measured for name, runner in self.runners.items()}, self.gauges)
        self._ranks: dict[str, tuple[int, float]] = {}

    # what happened

    def add(self, block: int, measured: Mapping[str, Mapping[str, ArrayLike]]) -> None:
        """One block's values, by option and gauge (an exact gauge gives one number)."""
        for option, values in measured.items():
            runner = self.runners[option]
            runner.blocks.append(block)
            for gauge, numbers in values.items():
                runner.values.setdefault(gauge, []).append(np.atleast_1d(np.asarray(numbers, dtype=np.float64)))

    def fail(self, option: str, reason: str, block: int) -> None:
        """The option could not be measured: it leaves the race, and what it alone excluded comes back."""
        self._drop(option, "failed", block, reason)

    # what it means

    def judge(self, block: int) -> None:
        """Drop what the evidence so far excludes."""
        earlier = self._reopen() if self.objective.serial else {}
        for name in self.live():
            for limit in self.limits:
                if limit.broken(self.limit_interval(name, limit)):
                    self._drop(name, "violates", block, limit=limit)
                    break
        for winner in sorted((name for name in self.live() if self.feasible(name)), key=self.rank):
            for name in self.live() if self.runners[winner].state == "live" else ():
                if self._may_beat(winner, name) and self.beats(winner, name):
                    self._drop(name, "dominated", block, by=winner)
        for name, (state, since) in earlier.items():
            if self.runners[name].state == state:
                self.runners[name].block = since

    def _reopen(self) -> dict[str, tuple[State, int | None]]:
        """What was dropped comes back, to be judged by all evidence; its state and block until now.

        In a series over time what was worse at first may be better later, and its bounds do not only
        shrink.
        """
        dropped = {name: (runner.state, runner.block) for name, runner in self.runners.items() if self._on_trial(name)}
        for name in dropped:
            runner = self.runners[name]
            runner.state, runner.block, runner.by, runner.limit = "live", None, "", None
        return dropped

    def _on_trial(self, name: str) -> bool:
        """Dropped by what more evidence might undo."""
        runner = self.runners[name]
        final = runner.limit is not None and self.gauges[runner.limit.gauge].kind == "exact"
        return runner.state == "dominated" or (runner.state == "violates" and not final)

    def _may_beat(self, winner: str, name: str) -> bool:
        """Whether a look is worth its time: the mean of paired differences has the sign of the means' difference."""
        return name != winner and (self.objective.kind != "mean" or self.rank(winner) <= self.rank(name))

    def beats(self, winner: str, name: str) -> bool:
        """`winner` is certified to be better, and not certified to be so by epsilon or less."""
        gain = self.advantage(winner, name)
        return gain.low > 0 and gain.high > self.epsilon

    def live(self) -> list[str]:
        """Options that the evidence has not excluded."""
        return [name for name, runner in self.runners.items() if runner.state == "live"]

    def wanted(self) -> list[str]:
        """Options that the next block must measure: the live ones, and the baseline where limits refer to it."""
        names = self.live()
        if self.objective.serial:
            names = [name for name, runner in self.runners.items() if runner.state == "live" or self._on_trial(name)]
        elif self.objective.kind == "exact":  # what is certified already learns nothing from another block
            names = [name for name in names if not self.runners[name].blocks or not self.feasible(name)]
        relative = any(limit.relative for limit in self.limits)
        if relative and names and self.baseline not in names and self.runners[self.baseline].state != "failed":
            names.append(self.baseline)
        return names

    def feasible(self, name: str) -> bool:
        """Every limit is certified as met."""
        return all(limit.met(self.limit_interval(name, limit)) for limit in self.limits)

    def settled(self) -> bool:
        """Nothing that could be measured would change the verdict; a series over time is heard to its end."""
        live = self.live()
        if not self.wanted() or self.without_baseline():
            return True
        if self.objective.serial:
            return False
        if not all(self.feasible(name) for name in live):
            return False
        return len(live) == 1 or self.equivalent(live)

    def without_baseline(self) -> bool:
        """Limits refer to a baseline that could not be measured, so that nothing can be certified to meet them."""
        return any(limit.relative for limit in self.limits) and self.runners[self.baseline].state == "failed"

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
        was_live = runner.state == "live"
        runner.state, runner.block, runner.reason, runner.by, runner.limit = state, block, reason, by, limit
        if was_live and state != "dominated":  # being worse than what cannot be chosen excludes nothing
            for other in self.runners.values():
                if other.state == "dominated" and other.by == name:
                    other.state, other.block, other.by = "live", None, ""

    def rank(self, name: str) -> float:
        """The option's objective as measured so far, smaller is better."""
        arrays = self.runners[name].values.get(self.objective.name, [])
        known = self._ranks.get(name)
        if known is None or known[0] != len(arrays):
            known = self._ranks[name] = (len(arrays), self._rank(arrays))
        return known[1]

    def _rank(self, arrays: Sequence[Array]) -> float:
        if not arrays:
            return math.inf
        values = np.concatenate(arrays)
        center = values.mean() if self.objective.kind == "mean" else np.quantile(values, self.objective.q)
        return float(center if self.objective.better == "lower" else -center)

    # intervals

    def level(self, name: str, gauge: str, alpha: float | None = None) -> Interval:
        """The value of one option on one gauge; at the race's alpha for itself unless another is given."""
        return self._tracks.level(name, gauge, alpha or self.alpha)

    def limit_interval(self, name: str, limit: Limit) -> Interval:
        """What `limit` bounds, for one option, at the level that the race pays for it."""
        if not limit.relative:
            return self.level(name, limit.gauge, self._each)
        return self._against_baseline(name, limit.gauge, limit.relative, self._each)

    def versus_baseline(self, name: str, gauge: str, alpha: float | None = None) -> Interval:
        """Difference (means, exact) or ratio (times, quantiles) to the baseline, for people to read."""
        relative: Relative = "ratio" if self.gauges[gauge].compared_by_ratio else "difference"
        return self._against_baseline(name, gauge, relative, alpha or self.alpha)

    def _against_baseline(self, name: str, gauge: str, relative: Relative, alpha: float) -> Interval:
        return self._tracks.pair(name, self.baseline, gauge, relative, alpha)

    def advantage(self, name: str, rival: str) -> Interval:
        """How much better `name` is than `rival` in the objective: positive is better.

        A difference in the objective's unit; for times and quantiles the relative gain (0.1 is 10 %).
        """
        gauge = self.objective
        relative: Relative = "ratio" if gauge.compared_by_ratio else "difference"
        pair = self._tracks.pair(name, rival, gauge.name, relative, self._each)
        if relative == "ratio":
            pair = mapped(pair, lambda ratio: ratio - 1.0)
        return mapped(pair, lambda gain: -gain) if gauge.better == "lower" else pair

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
