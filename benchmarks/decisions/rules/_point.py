"""The point-estimate rule, for any number of units."""

from __future__ import annotations

from benchmarks.decisions.asked import Asked, Meter, Shipped
from benchmarks.decisions.rules._estimate import Sheet


def decide_on(asked: Asked, meter: Meter, units: int) -> Shipped:
    """Measure all options on so many units, and ship the best whose measured values keep to the limits."""
    sheet = Sheet(asked, meter, most=units)
    if not len(sheet.candidates):
        return sheet.ship(None)
    for _ in range(min(-(-units // asked.block), asked.blocks)):
        sheet.read(sheet.candidates)
    return sheet.best(sheet.candidates)
