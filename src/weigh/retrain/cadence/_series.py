"""Means of series in time with their intervals, at one fixed length, for reports."""

from __future__ import annotations

import math
from typing import Any

from weigh.scale.serial import block_bootstrap_interval

DRAWS, LEVEL = 500, 0.05


def ends_of(values: Any, longest: int) -> tuple[float, float | None, float | None]:
    """Mean, low and high of a series, shape (n,): 95 % moving-block bootstrap over at least eight blocks.

    Blocks hold up to `longest` values; for fewer than eight values there is no interval.
    """
    return (
        within(values, max(1, min(longest, len(values) // 8)))
        if len(values) >= 8
        else (float(values.mean()), None, None)
    )


def within(values: Any, block: int) -> tuple[float, float | None, float | None]:
    """The same with blocks of just that length.

    There is no interval where five of them do not fit, and no end where hardly a value differs from the others.
    """
    if len(values) < 5 * block:
        return float(values.mean()), None, None
    made = block_bootstrap_interval(values, LEVEL, block, DRAWS)
    low, high = (end if math.isfinite(end) else None for end in (made.low, made.high))
    return made.estimate, low, high
