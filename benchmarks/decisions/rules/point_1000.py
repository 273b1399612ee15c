"""The point-estimate rule on 1,000 units: what Olive, NNCF and Neural Compressor do with an accuracy criterion."""

from __future__ import annotations

from benchmarks.decisions.asked import Asked, Meter, Shipped
from benchmarks.decisions.rules._point import decide_on


def decide(asked: Asked, meter: Meter, seed: int) -> Shipped:
    """The best option whose measured values keep to the limits on 1,000 units, or on all where there are fewer."""
    return decide_on(asked, meter, 1000)
