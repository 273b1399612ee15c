"""Who is measured on which block: those whose measurement may change the verdict, the most for the least first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from weigh.scale.gauge import Limit
    from weigh.scale.race import Race

_LOOK_AROUND, _AT_LEAST, _PLENTY = 2, 64, 250
"""Blocks, and values, that every option has before the race looks at some more than at others; values that are enough
also in a single block."""
_BESIDE = 0.5
"""Of the best prospect, what another one must promise to be measured beside it on the same block."""
_HOPE = 1.0
"""Standard errors of optimism before an option is given up as out of reach."""
_LONGEST = 1e6


class Prospect(NamedTuple):
    """What measuring an option may bring: the chance that it meets its limits, and blocks until that, or the contrary,
    is certified: as things look, and at best."""

    chance: float
    met: float
    broken: float
    soonest: float


class Plan:
    """The order of measurements in one race.

    Where the objective is random all options that are left are measured alike, on block after block. Where it is exact
    only limits are in doubt, and the options that promise the largest gain a block go on. If what is measured does not
    depend on when (answers, not timings), an option that was left behind goes on at the block where it stopped: each
    reads a beginning of the same row of blocks, so that no option uses up blocks of another, and bets fixed before the
    race, or when all had read the same blocks, hold along the whole row whoever decides how far it is read.

    Source: the split of effort between feasibility tests follows the constrained best-arm problem of arXiv 2511.09808.
    """

    def __init__(self, race: Race, blocks: int | None, room: int | None) -> None:
        self._race, self._blocks, self._room = race, blocks, room
        self._known: dict[str, tuple[int, Prospect]] = {}
        self._told: tuple[tuple[int, int], tuple[int, list[str]]] | None = None
        self._focus: tuple[list[str], int] = ([], 0)
        gauges = {limit.gauge for limit in race.limits}
        timed = any(gauge.compared_by_ratio or gauge.serial for gauge in race.gauges.values())
        self._finite = any(gauge.population for gauge in race.gauges.values())
        self._apart = race.objective.kind == "exact" and bool(gauges) and not timed

    def next(self) -> tuple[int, list[str]]:
        """The block to measure next, and on which options: none when nothing within reach could change the verdict."""
        now = (self._race.measurements, self._race.dropped)
        if self._told is None or self._told[0] != now:
            self._told = (now, self._next())
        return self._told[1][0], list(self._told[1][1])

    def _next(self) -> tuple[int, list[str]]:
        race = self._race
        names, block = self._live(), self._used()
        if race.objective.kind == "exact" and not race.objective.serial:
            names = self._open_questions()
            if self._apart and names:
                block = len(race.runners[names[0]].blocks)
                names = [name for name in names if len(race.runners[name].blocks) == block]
        baseline = race.runners[race.baseline]
        relative = any(limit.relative for limit in race.limits) and baseline.state != "failed"
        there = self._apart and len(baseline.blocks) > block
        if relative and names and race.baseline not in names and not there:
            names = [*names, race.baseline]
        if self._left() < len(names) or (self._blocks is not None and block >= self._blocks):
            return block, []
        return block, names

    def _live(self) -> list[str]:
        race = self._race
        if race.objective.serial:
            return [name for name, runner in race.runners.items() if runner.state == "live" or race.on_trial(name)]
        return race.live()

    def favoured(self) -> list[str]:
        """Options that the evidence speaks for but has not certified, the most wanted first."""
        race = self._race
        names = [name for name in race.live() if race.runners[name].blocks and not race.feasible(name)]
        if race.objective.kind == "exact":
            leader = self._leader()
            worth = {name: self._worth(name, leader) for name in names}
            names.sort(key=lambda name: -worth[name])
        else:
            names.sort(key=race.rank)
        return [name for name in names if self._prospect(name).chance > 0.3][:6]

    def explored(self) -> bool:
        """Every option that is left has been looked at."""
        runners = self._race.runners
        return all(self._seen(name) for name, runner in runners.items() if runner.state == "live" and runner.blocks)

    def _seen(self, name: str) -> bool:
        runner = self._race.runners[name]
        blocks = len(runner.blocks)
        values = max((arrays[0].size * blocks for arrays in runner.values.values() if arrays), default=0)
        return values >= _PLENTY or (blocks >= _LOOK_AROUND and (values >= _AT_LEAST or blocks >= _AT_LEAST))

    def _left(self) -> float:
        if self._room is None:
            return math.inf
        return self._room - self._race.measurements

    def _used(self) -> int:
        return max((runner.blocks[-1] + 1 for runner in self._race.runners.values() if runner.blocks), default=0)

    def _open_questions(self) -> list[str]:
        """With an exact objective: the options whose limits are worth another block, the most worth first."""
        race = self._race
        if self._going_on():
            return self._focus[0]
        names = [name for name in race.live() if not race.runners[name].values or not race.feasible(name)]
        if self._finite and not self._apart:  # who missed a block of a finite set cannot go on: draws come in one order
            names = [name for name in names if len(race.runners[name].blocks) == self._used()]
        new = [name for name in names if not self._seen(name)]
        if new:
            return sorted(new, key=lambda name: len(race.runners[name].blocks))
        leader, left = self._leader(), self._left()
        worth = {name: self._worth(name, leader) for name in names if self._price(name) <= left}
        ranked = sorted(worth, key=lambda name: -worth[name])
        even = 0
        if not self._apart and self._room is not None and self._blocks is not None:
            even = math.ceil(left / max(self._blocks - self._used(), 1)) - 1
        return self._look_at(
            [name for place, name in enumerate(ranked) if worth[name] >= _BESIDE * worth[ranked[0]] or place < even]
        )

    def _look_at(self, names: list[str]) -> list[str]:
        """Keep to these for an eighth as many blocks as they have."""
        if names:
            blocks = self._reached(names[0])
            together = [name for name in names if self._reached(name) == blocks]
            self._focus = together, blocks + 1 + blocks // 8
        return names

    def _reached(self, name: str) -> int:
        """The block that an option goes on at."""
        return len(self._race.runners[name].blocks) if self._apart else self._used()

    def _going_on(self) -> bool:
        names, until = self._focus
        race = self._race
        return bool(names) and all(
            race.runners[name].state == "live" and self._reached(name) < until and not race.feasible(name)
            for name in names
        )

    def _price(self, name: str) -> float:
        """The least that certifying or rejecting an option takes, in measurements; infinite without enough blocks."""
        soonest = self._prospect(name).soonest
        start = self._reached(name)
        if self._blocks is not None and (start >= self._blocks or math.floor(soonest) > self._blocks - start):
            return math.inf
        return soonest

    def _leader(self) -> str | None:
        race = self._race
        certified = [name for name in race.live() if race.runners[name].values and race.feasible(name)]
        return min(certified, key=race.rank, default=None)

    def _worth(self, name: str, leader: str | None) -> float:
        """What a measurement may gain: the chance of certifying the option, times its lead, by what that takes."""
        race = self._race
        first = race.rank(leader) if leader else max(map(race.rank, race.live()))
        lead = max(first - race.rank(name), 0.0) / max(abs(first), 1e-12)
        seen = self._prospect(name)
        blocks = seen.chance * min(seen.met, _LONGEST) + (1.0 - seen.chance) * min(seen.broken, seen.met, _LONGEST)
        if self._apart and race.baseline in race.runners and any(limit.relative for limit in race.limits):
            ahead = len(race.runners[race.baseline].blocks) - len(race.runners[name].blocks)
            blocks += max(blocks - max(ahead, 0), 0.0)
        return (seen.chance * lead + 1e-6) / max(blocks, 1.0)

    def _prospect(self, name: str) -> Prospect:
        blocks = len(self._race.runners[name].blocks)
        known = self._known.get(name)
        if known is None or known[0] != blocks:
            known = self._known[name] = (blocks, self._forecast(name, blocks))
        return known[1]

    def _forecast(self, name: str, blocks: int) -> Prospect:
        race = self._race
        chance, met, broken, hoped, feared = 1.0, 0.0, math.inf, 0.0, math.inf
        for limit in race.limits:
            if race.meets(name, limit):
                continue
            likely, needs = self._of_limit(name, blocks, limit)
            chance *= likely
            met, broken = max(met, needs[0]), min(broken, needs[1])
            hoped, feared = max(hoped, needs[2]), min(feared, needs[3])
        return Prospect(chance, met, broken, min(hoped, feared))

    def _of_limit(self, name: str, blocks: int, limit: Limit) -> tuple[float, Sequence[float]]:
        """The chance that a limit is met; blocks until it is certified, and rejected, as things look and at best."""
        race = self._race
        claim, contrary = race.claim(name, limit, True), race.claim(name, limit, False)
        if claim is None or contrary is None:
            more = race.blocks_to_settle(name, limit) if blocks else None
            return 0.5, (more or 10.0 * max(blocks, 1),) * 4
        a_block = blocks / max(race.tracks.view(claim.subject).series.n, 1)
        pairs = ((claim, 0.0), (contrary, 0.0), (claim, _HOPE), (contrary, _HOPE))
        needs = [a_block * one.needed(race.tracks, race.enough(one is claim), hope) for one, hope in pairs]
        return claim.likely(race.tracks), needs
