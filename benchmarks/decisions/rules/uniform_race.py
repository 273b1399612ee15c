"""A plain anytime race: every live option on every block, betting confidence sequences, a union bound over all claims.

Each option may be said to meet or to break each random limit, and each pair to be ordered in a random objective: every
claim at alpha over their number, looked at after each block, or, later on, whenever a twentieth more blocks have come.
Where a gauge states a population, bets are on what is left of it, so that an option that was measured on all of it is
known. An option is dropped when it is certified to break a limit, or to cost more than one that is certified to meet
all. The race stops when the best that is left is certified.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions.asked import Array, Asked, Meter, Shipped
from benchmarks.decisions.rules import _bets, _contrast, _order
from benchmarks.decisions.rules._estimate import Places, Sheet
from weigh.scale.gauge import Limit

_ROUNDING = 1e-6
Flags = NDArray[np.bool_]


def decide(asked: Asked, meter: Meter, seed: int) -> Shipped:
    """Race until the best that is left is certified, or all blocks are measured."""
    race = _Race(Sheet(asked, meter))
    while not race.settled():
        race.step()
    return race.ship()


class _Race:
    def __init__(self, sheet: Sheet) -> None:
        options = len(sheet.asked.options)
        self.sheet, self.blocks = sheet, 0
        self.live: Places = sheet.candidates
        claims = 2 * options * len(sheet.limits) + (0 if sheet.exact else options * (options - 1))
        self._enough = _bets.enough(sheet.asked.alpha, max(claims, 1))
        self._logs = [_bets.none(options) for _ in sheet.limits]
        self._sums = [np.zeros(options) for _ in sheet.limits]
        self._leads: dict[int, tuple[int, Array]] = {}
        self._met: Flags = np.ones((len(sheet.limits), options), dtype=bool)
        for row, limit in zip(self._met, sheet.limits):
            row[:] = False
            row[sheet.base] = bool(limit.relative)

    def settled(self) -> bool:
        if self.blocks >= self.sheet.asked.blocks or not len(self.live):
            return True
        certified = self._met[:, self.live].all(axis=0)
        if not self.sheet.exact and len(self.live) > 1:
            return False
        costs = self.sheet.objective(self.live) if self.sheet.exact else np.zeros(len(self.live))
        return bool(certified[np.argmin(costs)])

    def step(self) -> None:
        sheet = self.sheet
        seen, more = self.blocks, min(max(self.blocks // 20, 1), sheet.asked.blocks - self.blocks)
        for _ in range(more):
            sheet.read(self.live)
        self.blocks += more
        broken = np.zeros(len(self.live), dtype=bool)
        for row, limit, logs, sums in zip(self._met, sheet.limits, self._logs, self._sums):
            met, breaks = self._tested(limit, logs, sums, seen)
            own = (self.live == sheet.base) & bool(limit.relative)
            row[self.live] |= met & ~own
            broken |= breaks & ~own
        self.live = self.live[~broken]
        if len(self.live):
            self._drop_worse()

    def _tested(self, limit: Limit, logs: Array, sums: Array, seen: int) -> tuple[Flags, Flags]:
        gauge, block, live = self.sheet.asked.gauges[limit.gauge], self.sheet.asked.block, self.live
        if not _contrast.is_mean(gauge, limit):
            return _order.tested(gauge, limit, *self.sheet.pairs(limit.gauge, live), self._enough)
        z, bound = _contrast.of_limit(gauge, limit, *self.sheet.pairs(limit.gauge, live, seen * block))
        total = (gauge.population or np.inf) * bound
        bounds = np.full(len(live), bound)
        if gauge.population:
            bounds = (total - sums[live]) / (gauge.population - seen * block)
        logs[:, live] += _bets.grown(z, bounds)
        sums[live] += z.sum(axis=1)
        above, below = _bets.evidence(logs[:, live]) >= self._enough
        left = (gauge.population or np.inf) - self.blocks * block
        return above | (sums[live] >= total - _ROUNDING), below | (sums[live] + left < total - _ROUNDING)

    def _drop_worse(self) -> None:
        """Whoever is certified to meet all limits drops those that are certified to be worse in the objective."""
        certified = self.live[self._met[:, self.live].all(axis=0)]
        if not len(certified):
            return
        costs = self.sheet.objective(certified)
        leader = int(certified[np.argmin(costs)])
        if self.sheet.exact:
            self.live = self.live[self.sheet.objective(self.live) <= costs.min()]
        else:
            self.live = self.live[~self._worse(leader) | (self.live == leader)]

    def _worse(self, leader: int) -> Flags:
        """Certified to be worse than the leader, by all blocks so far."""
        sheet, name = self.sheet, self.sheet.asked.objective
        gauge = sheet.asked.gauges[name]
        if gauge.kind == "quantile":
            x, _ = sheet.pairs(name, self.live)
            return _order.worse(gauge, sheet.values[name][leader, : sheet.units(leader)], x, self._enough)
        done, logs = self._leads.get(leader, (0, _bets.none(len(sheet.asked.options))))
        x, _ = sheet.pairs(name, self.live, done * sheet.asked.block)
        mine = sheet.values[name][leader, done * sheet.asked.block : sheet.units(leader)]
        z, bound = _contrast.of_pair(gauge, mine, x)
        logs[:, self.live] += _bets.grown(z, np.full(len(z), bound))
        self._leads[leader] = (self.blocks, logs)
        worse: Flags = _bets.evidence(logs[0, self.live]) >= self._enough
        return worse

    def ship(self) -> Shipped:
        certified = self.live[self._met[:, self.live].all(axis=0)]
        if not len(certified):
            return self.sheet.ship(None)
        known = self.sheet.exact or self.blocks > 0
        best = int(np.argmin(self.sheet.objective(certified))) if known else 0
        return self.sheet.ship(int(certified[best]))
