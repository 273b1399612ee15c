"""Successive halving over training rungs, where nothing is dropped on the way by chance.

An option is trained further from rung to rung (1, 3, 9 epochs; a tenth, a third, all of the data). Each rung is a race
of its own over the options that are left: what a less trained model gave is never pooled with what came later.

How the risk `alpha` is spent: each rung has an equal part. On a rung before the last an option is dropped only if
another one is certified to be better there by more than the rung's slack. Hence the option that comes within slack of
the best on every rung is lost on the way with a chance of at most the parts of those rungs, and the last rung spends
its part as any race does. That is the guarantee. That an option which is worse by more than slack on a rung would have
been worse at the end is an assumption: curves that cross break it.

Limits on random measures are judged on the last rung alone, those on exact ones on every rung. An option that only a
violator had beaten comes back, and is measured from the next block on. Each rung must draw its units anew, in an order
that owes nothing to earlier rungs: who is left was chosen by what earlier rungs showed.

Source of halving: Jamieson and Talwalkar, AISTATS 2016 (arXiv 1502.07943), and asynchronously Li and others, MLSys 2020
(arXiv 1810.05934); both keep the best share by point estimates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias, final

from numpy.typing import ArrayLike

from weigh.scale.gauge import Gauge, Limit, checked
from weigh.scale.interval import Interval
from weigh.scale.race import Race, Runner


@dataclass(frozen=True, slots=True)
class Rung:
    """One rung: blocks that all options on it are measured on, equally far trained.

    Attributes:
        blocks: how many.
        label: what it stands for, such as "9 epochs".
        slack: by how much an option must be worse, in the objective, to be dropped (relative for times and quantiles).
        keep: at most so many options go on; None for all that are not certified to be worse.

    Raises:
        ValueError: there is no block, none is kept, or the slack is no size of difference.
    """

    blocks: int
    label: str = ""
    slack: float = 0.0
    keep: int | None = None

    def __post_init__(self) -> None:
        if self.blocks < 1 or not 0.0 <= self.slack < math.inf or (self.keep is not None and self.keep < 1):
            raise ValueError(f"{self} cannot be raced on: state blocks and what to keep from 1 on, a slack from 0 on")


class _Early(Race):
    """A rung before the last: being better counts only beyond the slack."""

    slack = 0.0

    def beats(self, winner: str, name: str) -> bool:
        if self._bets(winner, name):
            return self._certain(winner, name, self.slack)
        return self.advantage(winner, name).low > self.slack


@final
class Halving:
    """Options on training rungs; asked as a `Race` is, and answers from the rung where what is asked was last measured.

    Args:
        options: names of the options, the baseline among them.
        baseline: what relative limits refer to; measured on the last rung whenever there are such.
        gauges: the measures.
        limits: the constraints.
        objective: the gauge that is optimised; no series over time.
        alpha: probability of a wrong verdict, at most, under the assumption above.
        epsilon: differences in the objective up to this do not matter at the end.
        rungs: in order; their blocks follow on each other.
        blocks: after how many blocks to stop, on whatever rung; None for the end of the last.
        room: how many measurements (options x blocks) may be made in all; None for no limit.

    Raises:
        ValueError: the objective is a series over time, or there is no rung.
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
        rungs: Sequence[Rung],
        blocks: int | None = None,
        room: int | None = None,
    ) -> None:
        checked(gauges, limits, alpha, (tuple(options), baseline), (objective, epsilon))
        self.baseline, self.limits, self.alpha, self.epsilon = baseline, tuple(limits), alpha, epsilon
        self.gauges = {gauge.name: gauge for gauge in gauges}
        self.objective = self.gauges[objective]
        self.rungs = tuple(rungs)
        if self.objective.serial or not rungs:
            raise ValueError("rungs cannot be raced over a series over time, nor without a rung; state no rungs then")
        self._starts = [0, *accumulate(rung.blocks for rung in rungs)]
        self._blocks, self._room = min(blocks or self._starts[-1], self._starts[-1]), room
        exact = [limit for limit in limits if self.gauges[limit.gauge].kind == "exact"]
        late = self.objective.kind == "exact" and len(exact) < len(limits)  # nothing that an early rung could tell
        part = alpha if late else alpha / len(rungs)
        self._races: list[Race] = []
        for rung in rungs[:-1]:
            early = _Early(options, baseline, gauges, exact, objective, part, 0.0, blocks=rung.blocks)
            early.slack = rung.slack
            self._races.append(early)
        most = max(self._blocks - self._starts[-2], 0)
        self._last = Race(
            options, baseline, gauges, limits, objective, part, epsilon, blocks=most, room=room if late else None
        )
        self._races.append(self._last)
        self.rung = len(rungs) - 1 if late else 0
        self.measurements = 0
        self.runners = {name: Runner() for name in options}
        for name, runner in self.runners.items():
            runner.measured.by_gauge = self._race.runners[name].values

    # what happened

    def add(self, block: int, measured: Mapping[str, Mapping[str, ArrayLike]]) -> None:
        """One block's values, by option and gauge (an exact gauge gives one number)."""
        self._reach(block)
        self._race.add(block - self._start, measured)
        self.measurements += len(measured)
        for name in measured:
            runner = self.runners[name]
            runner.blocks.append(block)
            runner.measured.by_gauge = self._race.runners[name].values

    def know(self, exact: Mapping[str, Mapping[str, float]]) -> None:
        """What exact gauges give, by option and gauge, before anything is measured."""
        for race in self._races:
            race.know(exact)

    def fail(self, option: str, reason: str, block: int) -> None:
        """The option could not be measured: it leaves, and what it alone excluded comes back."""
        self._reach(block)
        self._race.fail(option, reason, block - self._start)
        self._follow()

    # what it means

    def judge(self, block: int) -> None:
        """Drop what the evidence so far excludes; after a rung's last block the others go on to the next."""
        self._reach(block)
        if block >= self._start:
            self._race.judge(block - self._start)
        self._follow()
        if not self._final and (not self._race.wanted() or len(self.live()) < 2):
            self._climb(block)

    def live(self) -> list[str]:
        """Options that the evidence has not excluded."""
        return [name for name, runner in self.runners.items() if runner.state == "live"]

    def wanted(self) -> list[str]:
        """Options that the next block must measure."""
        return self.next()[1]

    def next(self) -> tuple[int, list[str]]:
        """The block to measure next, and the options to measure on it: none when nothing could change the verdict."""
        here, names = self._race.next()
        block = self._start + here
        short = self._room is not None and self._room - self.measurements < len(names)
        return block, [] if short or block >= self._blocks else names

    def settled(self) -> bool:
        """Nothing that could be measured would change the verdict."""
        if self.without_baseline() or not self.wanted():
            return True
        live = self.live()
        return all(map(self.feasible, live)) and self.equivalent(live)

    def without_baseline(self) -> bool:
        """Limits refer to a baseline that could not be measured, so that nothing can be certified to meet them."""
        return any(limit.relative for limit in self.limits) and self.runners[self.baseline].state == "failed"

    def feasible(self, name: str) -> bool:
        """Every limit is certified as met: a random one on the last rung."""
        return all(self.meets(name, limit) for limit in self.limits)

    def meets(self, name: str, limit: Limit) -> bool:
        """The limit is certified as met."""
        return self._judging(name, limit).meets(name, limit)

    def breaks(self, name: str, limit: Limit) -> bool:
        """The limit is certified as broken."""
        return self._judging(name, limit).breaks(name, limit)

    def beats(self, winner: str, name: str) -> bool:
        """`winner` is certified to be better, by more than the slack of the last rung that measured both."""
        return self._both(winner, name).beats(winner, name)

    def equivalent(self, names: Sequence[str]) -> bool:
        """All are certified to lie within epsilon of the best of them, which only the last rung can tell."""
        return self._race.equivalent(names) if self._final else len(names) < 2

    def bounded(self, names: Sequence[str]) -> bool:
        """How far each may lie from the best of them has two ends, which only the last rung can tell."""
        return not self._final or self._race.bounded(names)

    def within(self, name: str, rival: str) -> bool:
        """Neither is better than the other by more than epsilon, which only the last rung can tell."""
        return self._final and self._both(name, rival) is self._race and self._race.within(name, rival)

    def rank(self, name: str) -> float:
        """The objective as measured so far, smaller is better; who left earlier stays as far behind as when it left."""
        race = self._of(name)
        mine = race.rank(name)
        now = next((race for race in reversed(self._races) if _measured(race)), race)
        return mine if race is now or math.isinf(mine) else mine - _lead(race) + _lead(now)

    def uncertified(self) -> list[str]:
        """Options that were not told apart from those that went on, and were dropped by a rung's `keep`."""
        return [name for name, runner in self.runners.items() if runner.state == "dominated" and not runner.by]

    def overtaken(self) -> list[str]:
        """Options that were dropped before the last rung because another one was certified to be better there."""
        return [name for name, one in self.runners.items() if one.state == "dominated" and one.by and one.reason]

    def where(self, rung: int | None = None) -> str:
        """The rung in words: ``rung 2 of 4 (9 epochs)``."""
        place = self.rung if rung is None else rung
        label = self.rungs[place].label
        return f"rung {place + 1} of {len(self.rungs)}{f' ({label})' if label else ''}"

    # intervals

    def level(self, name: str, gauge: str, alpha: float | None = None) -> Interval:
        """The value of one option on one gauge, on the last rung where it was measured."""
        return self._of(name).level(name, gauge, alpha or self.alpha)

    def limit_interval(self, name: str, limit: Limit) -> Interval:
        """What `limit` bounds, for one option, at the level that is paid for it."""
        return self._judging(name, limit).limit_interval(name, limit)

    def versus_baseline(self, name: str, gauge: str, alpha: float | None = None) -> Interval:
        """Difference or ratio to the baseline, on the last rung where both were measured."""
        return self._both(name, self.baseline).versus_baseline(name, gauge, alpha or self.alpha)

    def advantage(self, name: str, rival: str) -> Interval:
        """How much better `name` is than `rival` in the objective, on the last rung where both were measured."""
        return self._both(name, rival).advantage(name, rival)

    def blocks_to_settle(self, name: str, limit: Limit) -> int | None:
        """About how many more blocks would decide whether `name` meets `limit`; None when no number would."""
        return self._judging(name, limit).blocks_to_settle(name, limit)

    def blocks_to_separate(self, name: str, rival: str) -> int | None:
        """About how many more blocks of the last rung would tell `name` from `rival`; None before it."""
        return self._last.blocks_to_separate(name, rival) if self._race is self._last else None

    # rungs

    @property
    def _race(self) -> Race:
        return self._races[self.rung]

    @property
    def _final(self) -> bool:
        """What the rung says of the objective holds at the end."""
        return self._race is self._last or self.objective.kind == "exact"

    @property
    def _start(self) -> int:
        """The first block of the rung."""
        return self._starts[self.rung]

    def _of(self, name: str) -> Race:
        return next((race for race in reversed(self._races) if race.runners[name].blocks), self._race)

    def _both(self, name: str, rival: str) -> Race:
        races = reversed(self._races)
        return next((one for one in races if one.runners[name].blocks and one.runners[rival].blocks), self._race)

    def _judging(self, name: str, limit: Limit) -> Race:
        return self._of(name) if self.gauges[limit.gauge].kind == "exact" else self._last

    def _reach(self, block: int) -> None:
        while self._race is not self._last and block >= self._starts[self.rung + 1]:
            self._climb(self._starts[self.rung + 1] - 1)

    def _climb(self, block: int) -> None:
        """On to the next rung, or to the last where one option is left, with at most as many as the rung lets on."""
        keep, live, here = self.rungs[self.rung].keep, self.live(), self._race
        cut = sorted(live, key=here.rank)[keep:] if keep else []
        reason = f"not told apart when at most {keep} went on from {self.where()}"
        self.rung = self.rung + 1 if len(live) - len(cut) > 1 else len(self.rungs) - 1
        for name, now in self._race.runners.items():
            _copy(self.runners[name], now, -self._start)
            if name in cut:
                now.state, now.block, now.reason = "dominated", block - self._start, reason
        self._follow()

    def _follow(self) -> None:
        """What the rung's race says of each option; who is beaten before the last rung bears where."""
        for name, now in self._race.runners.items():
            if now.state == "live":
                now.reason = ""
            elif now.state == "dominated" and not now.reason and self._race is not self._last:
                now.reason = f"at {self.where()}"
            _copy(now, self.runners[name], self._start)


Contest: TypeAlias = Race | Halving
"""What a decision is judged by, and answers the same questions: over blocks, or over training rungs."""


def _copy(of: Runner, to: Runner, shift: int) -> None:
    """Where one option stands, with blocks counted from elsewhere."""
    to.state, to.reason, to.by, to.limit = of.state, of.reason, of.by, of.limit
    to.block = None if of.block is None else of.block + shift


def _measured(race: Race) -> Iterable[str]:
    return [name for name, runner in race.runners.items() if runner.blocks]


def _lead(race: Race) -> float:
    return min(map(race.rank, _measured(race)))
