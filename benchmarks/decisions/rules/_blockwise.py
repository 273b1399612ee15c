"""One number an instance, for the rules that test instance against instance: the objective with a penalty.

A few rows say little about a limit, so that an instance has 250 units or more, and a table at most 100 instances: each
is a block, several, or part of a large one. Ranking feasible options before others in each instance, and judging
feasibility by all instances so far, were tried for F-race: more violators at the same cost, or as many at a higher one.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from benchmarks.decisions.asked import Array
from benchmarks.decisions.rules._estimate import Places, Sheet

INSTANCE, INSTANCES = 250, 100
"""Units in an instance, at least, and instances of a table, at most."""
PENALTY = 10.0
"""What missing a limit by all of its range, or of its bound, adds, in objectives of the baseline."""


def blocks(sheet: Sheet) -> int:
    """Blocks that are measured at a time."""
    return min(-(-_units(sheet) // sheet.asked.block), sheet.asked.blocks)


def instances(sheet: Sheet) -> int:
    """Instances that come of these blocks."""
    return max(blocks(sheet) * sheet.asked.block // _units(sheet), 1)


def _units(sheet: Sheet) -> int:
    return max(INSTANCE, sheet.asked.units // INSTANCES)


def left(sheet: Sheet, place: int) -> bool:
    """Whether there are blocks that an option was not measured on."""
    return int(sheet.count[place]) + blocks(sheet) <= sheet.asked.blocks


def measured(sheet: Sheet, places: Places) -> Array:
    """Measure the next blocks; the penalised scores of their instances, smaller is better, (instances, options)."""
    start = sheet.units(int(places[0]))
    for _ in range(blocks(sheet)):
        sheet.read(places)
    ends = np.linspace(start, sheet.units(int(places[0])), instances(sheet) + 1).astype(int).tolist()
    return np.stack([_penalised(sheet, places, one, other) for one, other in pairwise(ends)])


def _penalised(sheet: Sheet, places: Places, start: int, stop: int) -> Array:
    missed = np.zeros(len(places))
    for limit in sheet.limits:
        missed -= np.minimum(sheet.slack(limit, places, start, stop), 0.0)
    return sheet.objective(places, start, stop) / _scale(sheet) + PENALTY * missed


def _scale(sheet: Sheet) -> float:
    """The baseline's objective, by all that was measured."""
    return abs(float(sheet.objective(np.array([sheet.base]))[0])) or 1.0
