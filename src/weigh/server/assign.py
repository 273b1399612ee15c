"""Who meets which arm: the same unit always the same one, whatever process asks, and whenever."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple


class Share(NamedTuple):
    """Units that lie in [low, high) meet an arm."""

    arm: str
    low: float
    high: float


def place(salt: str, unit: str) -> float:
    """Where a unit lies in [0, 1): uniform over units, and independent between salts.

    >>> place("rollout-1", "ann") == place("rollout-1", "ann"), place("rollout-1", "ann") == place("rollout-2", "ann")
    (True, False)
    """
    digest = blake2b(unit.encode("utf-8", "surrogatepass"), digest_size=8, key=salt.encode()[:64]).digest()
    return (int.from_bytes(digest, "little") >> 11) * 2.0**-53


def shares(canary: float) -> tuple[Share, ...]:
    """A canary's share from below, and as large a baseline from above; between them the champion.

    As the share grows whoever met the canary still does, and so do those of the baseline.

    >>> [(one.arm, one.low, one.high) for one in shares(0.25)]
    [('canary', 0.0, 0.25), ('champion', 0.25, 0.75), ('baseline', 0.75, 1.0)]
    >>> [(one.arm, one.low, one.high) for one in shares(1.0)]
    [('canary', 0.0, 1.0)]
    """
    beside = min(canary, 1.0 - canary)
    cut = [Share("canary", 0.0, canary), Share("champion", canary, 1.0 - beside), Share("baseline", 1.0 - beside, 1.0)]
    return tuple(one for one in cut if one.high > one.low)


def arm_of(where: float, cut: Sequence[Share]) -> str:
    """The arm of a place in [0, 1)."""
    return next(one.arm for one in cut if one.low <= where < one.high)
