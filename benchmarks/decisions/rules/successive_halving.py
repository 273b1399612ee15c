"""Successive halving (Jamieson and Talwalkar, 2016; ASHA without its asynchrony): each rung keeps the best third.

A rung gives survivors three times as many blocks as the one before, until three are left; the first is as long as a
tenth of the exhaustive measurements allows. Limits enter by ranking feasible first: options whose estimates keep to all
limits by their objective, then the others by how much they miss. In the end the point rule picks from the last
estimates of all options, survivors or not: where no survivor keeps to the limits, one that was left behind may.
"""

from __future__ import annotations

import math

from benchmarks.decisions.asked import Asked, Meter, Shipped
from benchmarks.decisions.rules._estimate import Sheet

ETA = 3
SHARE = 0.10


def decide(asked: Asked, meter: Meter, seed: int) -> Shipped:
    """Halve until three are left, and ship the best by the last estimates."""
    sheet = Sheet(asked, meter)
    left = sheet.candidates
    if not len(left):
        return sheet.ship(None)
    rungs = max(int(math.log(len(left)) / math.log(ETA)), 1)
    blocks = max(
        int(SHARE * asked.blocks * len(asked.options) / len(left) / (1.0 + (rungs - 1) * (1.0 - 1.0 / ETA))), 1
    )
    for rung in range(rungs):
        while sheet.count[left[0]] < min(blocks * ETA**rung, asked.blocks) and sheet.gauges:
            sheet.read(left)
        left = sheet.ranked(left)[0][: max(len(left) // ETA, 1)]
    return sheet.best(sheet.candidates)
