"""Races over blocks: options are dropped as soon as the evidence allows, under one stated error rate.

How the risk `alpha` is spent (`weigh.scale.risk`):

- a violator is shipped only if it is certified to meet every limit. The limit that it breaks is then certified wrongly,
  whatever the number of limits; over the options a `Purse` keeps the chance of any such claim at its share of alpha,
  and most of it is bet on the few options that the first values speak for;
- the best is rejected only if one of m random limits is certified as broken by it: m claims, however many options;
- the best is called worse, or tied within epsilon where it is not, only by a wrong claim of a rival: again a `Purse`.

Every claim rests on bets whose wealth may be looked at after each block at no cost. Where a measure has intervals only
(series over time, ratios of quantiles) claims share alpha evenly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from weigh.scale.gauge import Gauge, Limit, checked
from weigh.scale.interval import Interval, more_blocks
from weigh.scale.plan import Plan
from weigh.scale.risk import Claim, Purse, Shares, clipped
from weigh.scale.series import Account, fewest, order_statistic
from weigh.scale.tracks import Array, Relative, Subject, Tracks, Values, mapped

_FEW = 12
"""Up to so many options each certified one is compared with each other one; of more, the best with the others."""
_AGAIN = 1.5
"""By how many times the blocks grow before a better reference is looked for."""

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
        blocks: how many blocks there are; None for no end.
        room: how many measurements (options x blocks) may be made in all; None for no limit. What cannot be settled
            within blocks and room is not measured further.

    Raises:
        ValueError: nothing can be judged so; the message says what to state instead.
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
        *,
        blocks: int | None = None,
        room: int | None = None,
    ) -> None:
        checked(gauges, limits, alpha, (tuple(options), baseline), (objective, epsilon))
        self.runners = {name: Runner() for name in options}
        self.baseline = baseline
        self.gauges = {gauge.name: gauge for gauge in gauges}
        self.limits = tuple(limits)
        self.objective = self.gauges[objective]
        self.alpha, self.epsilon = alpha, epsilon
        self._random = tuple(limit for limit in limits if self.gauges[limit.gauge].kind != "exact")
        self._shares = Shares.of(len(self._random), self.objective.kind != "exact")
        relative = all(limit.relative for limit in self._random)
        self._claimants = max(len(options) - (relative and baseline in options), 1)
        self._purse, self._leaders = Purse(self._claimants), Purse(len(options))
        self.tracks = Tracks({name: runner.measured for name, runner in self.runners.items()}, self.gauges)
        self._ranks: dict[str, tuple[int, float]] = {}
        self._sums: dict[str, tuple[int, float, int]] = {}
        self._claims: dict[tuple[str, Limit, bool], Claim] = {}
        self._leads: dict[tuple[str, str], list[Account]] = {}
        self._ahead: dict[tuple[str, str, float], Claim] = {}
        self._feasible: dict[str, tuple[tuple[int, int, int], bool]] = {}
        self._out: dict[str, tuple[tuple[int, int, int], Limit | None]] = {}
        self._certified: set[str] = set()
        self._backed: list[str] = []
        self.measurements = self.dropped = 0
        self._compared, self._reference = "", ("", 0)
        self._plan = Plan(self, blocks, room)

    # what happened

    def add(self, block: int, measured: Mapping[str, Mapping[str, ArrayLike]]) -> None:
        """One block's values, by option and gauge (an exact gauge gives one number).

        Raises:
            ValueError: an option was measured on this block, or on a later one, before; nothing is taken.
        """
        for option in measured:
            if (blocks := self.runners[option].blocks) and block <= blocks[-1]:
                raise ValueError(f"{option} has values up to block {blocks[-1]}, block {block} among them or missed")
        self.measurements += len(measured)
        for option, values in measured.items():
            runner = self.runners[option]
            runner.blocks.append(block)
            for gauge, numbers in values.items():
                runner.values.setdefault(gauge, []).append(np.atleast_1d(np.asarray(numbers, dtype=np.float64)))

    def know(self, exact: Mapping[str, Mapping[str, float]]) -> None:
        """What exact gauges give, by option and gauge, before anything is measured."""
        for option, values in exact.items():
            for gauge, number in values.items():
                self.runners[option].values[gauge] = [np.array([number], dtype=np.float64)]

    def fail(self, option: str, reason: str, block: int) -> None:
        """The option could not be measured: it leaves the race, and what it alone excluded comes back."""
        self._drop(option, "failed", block, reason)

    # what it means

    def judge(self, block: int) -> None:
        """Drop what the evidence so far excludes."""
        earlier = self._reopen() if self.objective.serial else {}
        for name in self.live():
            if broken := self._broken(name):
                self._drop(name, "violates", block, limit=broken)
        for winner in self._references():
            if winner == self._compared:
                continue
            self._compared = winner if self.objective.kind == "exact" else ""
            for name in self.live() if self.runners[winner].state == "live" else ():
                if name != winner and (self.beats(winner, name) or self._pointless(winner, name)):
                    self._drop(name, "dominated", block, by=winner)
        for name, (state, since) in earlier.items():
            if self.runners[name].state == state:
                self.runners[name].block = since
        self._open_accounts()
        self._move_up()
        self._told_apart()  # looks at what joins the options, as whoever races does: a replay then sees the same

    def _references(self) -> list[str]:
        """The certified options that others are compared with: all where they are few; else the best as it was when it
        was last looked for, since a new one is compared with all others from the first block on."""
        feasible = sorted((name for name in self.live() if self.feasible(name)), key=self.rank)
        if len(self.runners) <= _FEW and self.objective.kind != "exact":
            return feasible
        name, since = self._reference
        blocks = max((len(self.runners[one].blocks) for one in feasible[:1]), default=0)
        if self.objective.kind == "exact" or name not in feasible or blocks > _AGAIN * since:
            self._reference = (feasible[0], blocks) if feasible else ("", 0)
        return [self._reference[0]] if feasible else []

    def _pointless(self, winner: str, name: str) -> bool:
        """Not certified, and no better than the winner by more than epsilon, as is known without error."""
        if self.objective.kind != "exact" or self.feasible(name):
            return False
        return self.advantage(winner, name).low >= -self.epsilon

    def _reopen(self) -> dict[str, tuple[State, int | None]]:
        """What was dropped comes back, to be judged by all evidence; its state and block until now.

        In a series over time what was worse at first may be better later, and its bounds do not only
        shrink.
        """
        dropped = {name: (runner.state, runner.block) for name, runner in self.runners.items() if self.on_trial(name)}
        for name in dropped:
            runner = self.runners[name]
            runner.state, runner.block, runner.by, runner.limit = "live", None, "", None
        return dropped

    def on_trial(self, name: str) -> bool:
        """Dropped by what more evidence might undo."""
        runner = self.runners[name]
        final = runner.limit is not None and self.gauges[runner.limit.gauge].kind == "exact"
        return runner.state == "dominated" or (runner.state == "violates" and not final)

    def _open_accounts(self) -> None:
        """When all that is left has been looked at: give the error rate to those whom the evidence speaks for."""
        if not self._plan.explored():
            return
        if self._random and self._purse.line is None:
            for name in self._purse.draw(self._plan.favoured()):
                for claim in self._bet_on(name, True):
                    claim.open(self.tracks, self._purse.part(name, ()))
            for name in self.live():
                for claim in self._bet_on(name, False):
                    claim.open(self.tracks, 0.5)
        live = self.live()
        backing = self._leaders.backing(len(self._backed))
        if self._shares.beat and len(live) > 1 and backing:
            leader = min(live, key=self.rank) if len(self.runners) <= _FEW else self._reference[0]
            if leader in live and leader not in self._backed:
                self._backed.append(leader)
                self._back(leader, backing)

    def _bet_on(self, name: str, met: bool) -> list[Claim]:
        """The claims that an option meets its random limits, or breaks them, as far as they are bet on."""
        claims = [self.claim(name, limit, met) for limit in self._random]
        return [claim for claim in claims if claim is not None]

    def _move_up(self) -> None:
        """Whoever is certified leaves the line, and those behind get larger parts, until nothing changes."""
        for _ in self._purse.line or ():
            certified = {name for name in self._purse.line or () if self.feasible(name)}
            if certified == self._certified:
                return
            self._certified = certified
            for name in set(self._purse.line or ()) - certified:
                for claim in self._bet_on(name, True):
                    claim.weigh(self._purse.part(name, certified))
                self._feasible.pop(name, None)

    def _back(self, leader: str, weight: float) -> None:
        """Bet part of the error rate, from here on, on `leader` against every other option."""
        for name in self.live():
            if not self._bets(leader, name):
                continue
            view = self.tracks.view(self._pair(leader, name))
            bound, side = view.bound(self._neutral(0.0)), view.side(self._side)
            self._accounts(leader, name).append(view.series.open(bound, side, weight))

    def beats(self, winner: str, name: str) -> bool:
        """`winner` is certified to be better, and not certified to be so by epsilon or less."""
        if not self._bets(winner, name):
            gain = self.advantage(winner, name)
            return gain.low > 0 and gain.high > self.epsilon
        if not self._certain(winner, name, 0.0):
            return False
        return self.epsilon == 0 or not self._certain(name, winner, -self.epsilon)

    def live(self) -> list[str]:
        """Options that the evidence has not excluded."""
        return [name for name, runner in self.runners.items() if runner.state == "live"]

    def wanted(self) -> list[str]:
        """Options that the next block must measure: those that may yet decide, and the baseline for them."""
        return self.next()[1]

    def next(self) -> tuple[int, list[str]]:
        """The block to measure next, and the options to measure on it: none when nothing could change the verdict."""
        return self._plan.next()

    def feasible(self, name: str) -> bool:
        """Every limit is certified as met."""
        now = self._size(name)
        known = self._feasible.get(name)
        if known is None or known[0] != now:
            met = [self.meets(name, limit) for limit in self.limits]  # each is looked at: what is certified stays so
            known = self._feasible[name] = (now, all(met))
        return known[1]

    def meets(self, name: str, limit: Limit) -> bool:
        """The limit is certified as met."""
        claim = self.claim(name, limit, True)
        if claim is None:
            return limit.met(self._plain(name, limit))
        return claim.look(self.tracks) >= self.enough(True)

    def breaks(self, name: str, limit: Limit) -> bool:
        """The limit is certified as broken."""
        claim = self.claim(name, limit, False)
        if claim is None:
            return limit.broken(self._plain(name, limit))
        return claim.look(self.tracks) >= self.enough(False)

    def _broken(self, name: str) -> Limit | None:
        """The first limit that is certified as broken; nothing new is known of an option that was not measured."""
        now = self._size(name)
        known = self._out.get(name)
        if known is None or known[0] != now:
            broken = next((limit for limit in self.limits if self.breaks(name, limit)), None)
            known = self._out[name] = (now, broken)
        return known[1]

    def _size(self, name: str) -> tuple[int, int, int]:
        """How much was measured of an option: alone, and beside the baseline."""
        runner, baseline = self.runners[name], self.runners.get(self.baseline)
        blocks = len(runner.blocks)
        return blocks, min(blocks, len(baseline.blocks) if baseline else 0), len(runner.values)

    def enough(self, met: bool) -> float:
        """Log of the evidence that certifies a limit as met, or as broken."""
        if met:
            return -math.log(self._shares.ship * self.alpha)
        return math.log(len(self._random)) - math.log(self._shares.reject * self.alpha)

    def settled(self) -> bool:
        """Nothing that could be measured would change the verdict; a series over time is heard to its end."""
        if not self.wanted() or self.without_baseline():
            return True
        return not self.objective.serial and self._told_apart()

    def _told_apart(self) -> bool:
        """All that are left are certified, and known to lie within epsilon where they are several."""
        live = self.live()
        return all(self.feasible(name) for name in live) and (len(live) < 2 or self.equivalent(live))

    def without_baseline(self) -> bool:
        """Limits refer to a baseline that could not be measured, so that nothing can be certified to meet them."""
        return any(limit.relative for limit in self.limits) and self.runners[self.baseline].state == "failed"

    def equivalent(self, names: Sequence[str]) -> bool:
        """All are certified to lie within epsilon of the best of them, or of each other where they are few."""
        best = self._reference[0] if self._reference[0] in names else min(names, key=self.rank)
        firsts = names if len(self.runners) <= _FEW else [best]
        return all(self.within(a, b) for i, a in enumerate(firsts) for b in names if b != a and b not in firsts[:i])

    def bounded(self, names: Sequence[str]) -> bool:
        """How far each may lie from the best of them has two ends: too few times leave one open, and say nothing."""
        best = min(names, key=self.rank)
        return all(self._closed(best, name) for name in names if name != best)

    def within(self, name: str, rival: str) -> bool:
        """Neither is better than the other by more than epsilon."""
        if self._bets(name, rival):
            return self._certain(name, rival, -self.epsilon) and self._certain(rival, name, -self.epsilon)
        gain = self.advantage(name, rival)
        return -self.epsilon <= gain.low and gain.high <= self.epsilon

    def _drop(
        self, name: str, state: State, block: int, reason: str = "", by: str = "", limit: Limit | None = None
    ) -> None:
        self.dropped += 1
        runner = self.runners[name]
        was_live = runner.state == "live"
        runner.state, runner.block, runner.reason, runner.by, runner.limit = state, block, reason, by, limit
        self._compared = "" if name == self._compared else self._compared
        if was_live and state != "dominated":  # being worse than what cannot be chosen excludes nothing
            for other in self.runners.values():
                if other.state == "dominated" and other.by == name:
                    other.state, other.block, other.by = "live", None, ""

    def rank(self, name: str) -> float:
        """The option's objective as measured so far, smaller is better."""
        arrays = self.runners[name].values.get(self.objective.name, [])
        known = self._ranks.get(name)
        if known is None or known[0] != len(arrays):
            known = self._ranks[name] = (len(arrays), self._rank(name, arrays))
        return known[1]

    def _rank(self, name: str, arrays: Sequence[Array]) -> float:
        if not arrays:
            return math.inf
        if self.objective.kind == "mean":
            read, total, n = self._sums.get(name, (0, 0.0, 0))
            total += sum(float(array.sum()) for array in arrays[read:])
            n += sum(array.size for array in arrays[read:])
            self._sums[name] = (len(arrays), total, n)
            center = total / max(n, 1)
        elif self.objective.kind == "exact":
            center = float(arrays[0][0])
        else:
            center = order_statistic(np.concatenate(arrays), self.objective.q)
        return center if self.objective.better == "lower" else -center

    # claims

    def claim(self, name: str, limit: Limit, met: bool) -> Claim | None:
        """The claim that a limit is met, or broken; None where no bets are made: it is known, or has intervals only."""
        subject = self._bounded(name, limit)
        if not self.runners[name].blocks or not self.tracks.bets(subject):
            return None
        key = (name, limit, met)
        if key not in self._claims:
            start = Account(self._purse.start if met else 0.5)
            self._claims[key] = Claim(subject, limit.bound, limit.side(met), [start], met)
        return self._claims[key]

    def _bounded(self, name: str, limit: Limit) -> Subject:
        return Subject(name, limit.gauge, limit.relative, self.baseline if limit.relative else "")

    @property
    def _side(self) -> int:
        """The side on which a better objective lies."""
        return 0 if self.objective.better == "higher" else 1

    def _pair(self, name: str, rival: str) -> Subject:
        return Subject(name, self.objective.name, "ratio" if self.objective.compared_by_ratio else "difference", rival)

    def _neutral(self, gain: float) -> float:
        """The difference or ratio at which `name` gains so much over its rival."""
        signed = gain if self.objective.better == "higher" else -gain
        return 1.0 + signed if self.objective.compared_by_ratio else signed

    def _bets(self, name: str, rival: str) -> bool:
        return self.tracks.bets(self._pair(name, rival))

    def _accounts(self, name: str, rival: str) -> list[Account]:
        return self._leads.setdefault((name, rival), [Account(self._leaders.start)])

    def _certain(self, name: str, rival: str, gain: float) -> bool:
        """Certified that `name` gains more than `gain` over its rival."""
        key = (name, rival, gain)
        if key not in self._ahead:
            subject = self._pair(name, rival)
            self._ahead[key] = Claim(subject, self._neutral(gain), self._side, self._accounts(name, rival))
        return self._ahead[key].look(self.tracks) >= -math.log(self._shares.beat * self.alpha)

    # intervals

    def level(self, name: str, gauge: str, alpha: float | None = None) -> Interval:
        """The value of one option on one gauge; at the race's alpha for itself unless another is given."""
        return self.tracks.interval(Subject(name, gauge), alpha or self.alpha)

    def limit_interval(self, name: str, limit: Limit) -> Interval:
        """What `limit` bounds, for one option, at the level that the race pays for it."""
        met = self.claim(name, limit, True)
        if met is None:
            return self._plain(name, limit)
        broken = self.claim(name, limit, False)
        assert broken is not None
        view, scale = self.tracks.view(met.subject), math.exp(self.enough(True) - self.enough(False))
        rejecting = [one._replace(weight=one.weight * scale) for one in broken.accounts]
        ends = (met.accounts, rejecting) if met.side == 0 else (rejecting, met.accounts)
        interval = view.interval(2.0 * math.exp(-self.enough(True)), *ends)
        return clipped(interval, limit, self.meets(name, limit), self.breaks(name, limit))

    def _plain(self, name: str, limit: Limit) -> Interval:
        """The interval of what has no bets, at a level that both of its ends may be relied on."""
        subject = self._bounded(name, limit)
        if self.tracks.known(subject):
            return self.tracks.interval(subject, self.alpha)
        parts = (self._shares.ship / self._claimants, self._shares.reject / max(len(self._random), 1))
        return self.tracks.interval(subject, min(self.alpha, 2.0 * self.alpha * min(parts)))

    def versus_baseline(self, name: str, gauge: str, alpha: float | None = None) -> Interval:
        """Difference (means, exact) or ratio (times, quantiles) to the baseline, for people to read."""
        relative: Relative = "ratio" if self.gauges[gauge].compared_by_ratio else "difference"
        return self.tracks.interval(Subject(name, gauge, relative, self.baseline), alpha or self.alpha)

    def advantage(self, name: str, rival: str) -> Interval:
        """How much better `name` is than `rival` in the objective: positive is better.

        A difference in the objective's unit; for times and quantiles the relative gain (0.1 is 10 %).
        """
        pair = self._difference(name, rival)
        if self.objective.compared_by_ratio:
            pair = mapped(pair, lambda ratio: ratio - 1.0)
        return mapped(pair, lambda gain: -gain) if self.objective.better == "lower" else pair

    def _difference(self, name: str, rival: str) -> Interval:
        """`name` less `rival` in the objective, or over it where they are compared by ratio."""
        subject = self._pair(name, rival)
        if not self.tracks.bets(subject):
            return self.tracks.interval(subject, self._level())
        mine, theirs = self._accounts(name, rival), self._accounts(rival, name)
        ends = (mine, theirs) if self._side == 0 else (theirs, mine)
        return self.tracks.view(subject).interval(2.0 * self._shares.beat * self.alpha, *ends)

    def _closed(self, name: str, rival: str) -> bool:
        """Their difference has two ends; a ratio of 0 is none."""
        one = self._difference(name, rival)
        low = one.low if one.low or not self.objective.compared_by_ratio else -math.inf
        return math.isfinite(low) and math.isfinite(one.high)

    def _level(self) -> float:
        """The error rate of one of all comparisons."""
        return min(self.alpha, 2.0 * self.alpha * self._shares.beat / max(len(self.runners) - 1, 1)) or self.alpha

    def blocks_to_settle(self, name: str, limit: Limit) -> int | None:
        """About how many more blocks would decide whether `name` meets `limit`; None when no number would."""
        interval = self.limit_interval(name, limit)
        return more_blocks(len(self.runners[name].blocks), interval, limit.bound, 0.0)

    def blocks_to_separate(self, name: str, rival: str) -> int | None:
        """About how many more blocks would tell `name` from `rival`, or show them within epsilon."""
        if self.objective.compared_by_ratio and not self._closed(name, rival):
            return max(fewest(self._level()) - len(self.runners[name].blocks), 1)
        return more_blocks(len(self.runners[name].blocks), self.advantage(name, rival), 0.0, self.epsilon)
