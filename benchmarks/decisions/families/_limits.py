"""Sets of limits, as a user would write them."""

from __future__ import annotations

from collections.abc import Iterable

from weigh.scale.gauge import Limit

Limits = tuple[Limit, ...]


def at_least(gauge: str, floor: float) -> Limit:
    """The gauge may fall this much below the baseline's."""
    return Limit(gauge, ">=", -floor, "difference")


def at_most(gauge: str, rise: float) -> Limit:
    """The gauge may rise this much above the baseline's."""
    return Limit(gauge, "<=", rise, "difference")


def each(limits: Iterable[Limit]) -> tuple[Limits, ...]:
    """Questions of one limit each."""
    return tuple((limit,) for limit in limits)
