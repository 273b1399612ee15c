"""Adaptive UCB-E (Audibert, Bubeck and Munos, COLT 2010), limits by optimism: a tenth of the exhaustive measurements.

The next block goes to the option that would be best if all its estimates were better by sqrt(a / blocks): of those
that would then keep to every limit the one with the best objective, or, where none would, the one that misses least.
`a` is the budget over the estimated hardness, the largest i / gap_(i)^2, taken anew in each phase as in their paper
(c = 1). The gap of an option is what stands between it and the best place: how much it misses a limit, or by how much
its objective is worse; an exact objective leaves no doubt. In the end the point rule picks by the estimates. A pull is
one block, or several where the budget is more than 250 blocks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions.asked import Array, Asked, Meter, Shipped
from benchmarks.decisions.rules._estimate import Sheet

SHARE = 0.10
PULLS = 250


def decide(asked: Asked, meter: Meter, seed: int) -> Shipped:
    """Spend the budget block by block where optimism leads, and ship the best by the estimates."""
    sheet = Sheet(asked, meter)
    if not sheet.gauges or len(sheet.candidates) < 2:
        while len(sheet.candidates) and sheet.gauges and sheet.count.max() < SHARE * asked.blocks:
            sheet.read(sheet.candidates)
        return sheet.best(sheet.candidates)
    sheet.read(sheet.candidates)
    arms = _Arms(sheet)
    budget = max(SHARE * asked.blocks * len(asked.options), 1.0)
    phases = _phases(len(sheet.candidates), budget)
    while sheet.count.sum() < budget and arms.open().any():
        if phases and sheet.count.sum() >= phases[0]:
            phases.pop(0)
            arms.retune(budget)
        arms.pull(max(int(budget / PULLS), 1))
    return sheet.best(sheet.candidates)


def _phases(arms: int, budget: float) -> list[float]:
    """When `a` is taken anew: the ends of the phases of successive rejects."""
    log = 0.5 + np.sum(1.0 / np.arange(2, arms + 1))
    pulls = [np.ceil((budget - arms) / log / (arms + 1 - phase)) for phase in range(1, arms)]
    return [arms, *[sum(pulls[:phase]) + (arms - phase) * pulls[phase] for phase in range(1, arms - 1)]]


class _Arms:
    def __init__(self, sheet: Sheet) -> None:
        self.sheet, self.places, self.a = sheet, sheet.candidates, 1.0
        self.room: Array = np.zeros((len(sheet.limits), len(self.places)))
        self.cost: Array = np.zeros(len(self.places))
        self._scale = 1.0
        for arm in range(len(self.places)):
            self._look(arm)
        self._scale = float(np.abs(self.cost).max()) or 1.0

    def open(self) -> NDArray[np.bool_]:
        """Arms that have blocks left."""
        return self.sheet.count[self.places] < self.sheet.asked.blocks

    def pull(self, blocks: int) -> None:
        """Measure the next blocks of the arm that is best in the best case."""
        bonus = np.sqrt(self.a / self.sheet.count[self.places])
        missed = -np.minimum(self.room + bonus, 0.0).sum(axis=0)
        cost = self.cost if self.sheet.exact else self.cost - bonus * self._scale
        arm = int(np.lexsort((cost, missed, ~self.open()))[0])
        for _ in range(blocks):
            self.sheet.read(self.places[[arm]])
        self._look(arm)

    def retune(self, budget: float) -> None:
        """The budget over the hardness, by the estimates so far."""
        gaps = np.sort(np.maximum(self._gaps(), 1e-3))
        self.a = budget / float(np.max(np.arange(1, len(gaps) + 1) / gaps**2))

    def _gaps(self) -> Array:
        missed = -np.minimum(self.room, 0.0).sum(axis=0)
        best = int(np.lexsort((self.cost, missed))[0])
        behind = np.full(len(self.cost), 1.0)
        if not self.sheet.exact:
            behind = np.abs(self.cost - self.cost[best]) / self._scale
        gaps = np.where(missed > 0, missed, behind)
        others = np.delete(gaps, best)
        gaps[best] = min(float(others.min()), float(np.abs(self.room[:, best]).min(initial=1.0)))
        return gaps

    def _look(self, arm: int) -> None:
        place = self.places[[arm]]
        for row, limit in zip(self.room, self.sheet.limits):
            row[arm] = self.sheet.slack(limit, place)[0]
        self.cost[arm] = self.sheet.objective(place)[0]
