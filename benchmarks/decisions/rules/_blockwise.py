"""One number a block, for the rules that test block against block: the objective with a penalty for missed limits.

A few rows say little about a limit, so that an instance has 250 units or more. Ranking feasible options before
others in each instance, and judging feasibility by all instances so far, were tried for F-race: more violators at the
same cost, or as many at a higher one.
"""

from __future__ import annotations

import numpy as np

from benchmarks.decisions.asked import Array
from benchmarks.decisions.rules._estimate import Places, Sheet

INSTANCE = 250
"""Units in an instance, unless a block has more."""
PENALTY = 10.0
"""What missing a limit by all of its range, or of its bound, adds, in objectives of the baseline."""


def instances(sheet: Sheet) -> int:
    """How many instances there are."""
    return sheet.asked.blocks // _blocks(sheet)


def _blocks(sheet: Sheet) -> int:
    return min(-(-INSTANCE // sheet.asked.block), sheet.asked.blocks)


def read(sheet: Sheet, places: Places) -> None:
    """Measure the next instance."""
    for _ in range(_blocks(sheet)):
        sheet.read(places)


def penalised(sheet: Sheet, places: Places) -> Array:
    """The score of some options on the instance that was measured last; the smaller the better."""
    start = sheet.units(int(places[0])) - _blocks(sheet) * sheet.asked.block
    missed = np.zeros(len(places))
    for limit in sheet.limits:
        missed -= np.minimum(sheet.slack(limit, places, start), 0.0)
    return sheet.objective(places, start) / _scale(sheet) + PENALTY * missed


def _scale(sheet: Sheet) -> float:
    """The baseline's objective, by all that was measured."""
    return abs(float(sheet.objective(np.array([sheet.base]))[0])) or 1.0
