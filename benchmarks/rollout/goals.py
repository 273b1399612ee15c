"""The goal alone, 28 daily looks a horizon: who is wrong how often over three horizons, and who finds the effect."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.rollout.peers import FIXED, Floats, growthbook
from weigh.scale.spending import RESERVE, bounds, look

DAYS, EACH, RATE = 28, 357, 0.10
"""Looks in a horizon, units an arm and day (9,996 an arm at the horizon), and the control's conversion."""
HORIZONS = 3


def days(rng: np.random.Generator, replays: int, effect: float, horizons: int) -> Floats:
    """z at each day, shape (replays, days), as the judge's goal has it: pooled variance, one stage."""
    counts = [rng.binomial(EACH, rate, (replays, horizons * DAYS)).cumsum(axis=1) for rate in (RATE, RATE + effect)]
    n = EACH * np.arange(1.0, horizons * DAYS + 1)
    pooled = (counts[0] + counts[1]) / (2 * n)
    variance = pooled * (1 - pooled) * 2 * n / (2 * n - 1)
    z: Floats = (counts[1] - counts[0]) / n / np.sqrt(2 * variance / n)
    return z


def ours(alpha: float = 0.05) -> Floats:
    """What |z| must exceed at each day: alpha / 2 on either side, as the judge spends it."""
    times = [day / DAYS for day in range(1, DAYS + 1)]
    planned = bounds(times, alpha / 2 * (1 - RESERVE))
    later = [look([*times, day / DAYS], alpha / 2).bound for day in range(DAYS + 1, HORIZONS * DAYS + 1)]
    return np.array([*planned, *later])


def rules() -> dict[str, Floats]:
    """What |z| must exceed at each day of three horizons; infinite where nobody looks."""
    n = 2 * EACH * np.arange(1.0, HORIZONS * DAYS + 1)
    never = np.full(n.size, math.inf)
    planned = np.array(bounds([day / DAYS for day in range(1, DAYS + 1)], 0.025))
    once, bryan, extended = never.copy(), never.copy(), never.copy()
    once[DAYS - 1], bryan[:DAYS] = FIXED, planned
    extended[DAYS - 1 :] = FIXED
    return {
        "weigh": ours(), "fixed horizon": once, "O'Brien-Fleming": bryan, "GrowthBook": growthbook(n),
        "daily peeking": np.full(n.size, FIXED), "fixed horizon, then extended daily": extended,
    }  # fmt: skip


def found(z: Floats, bound: Floats) -> tuple[float, float]:
    """The share of replays in which a difference is called, and the mean day of those, of the planned days."""
    over = np.abs(z) >= bound[: z.shape[1]]
    called = over.any(axis=1)
    day = over.argmax(axis=1) + 1
    return float(called.mean()), float(day[called].mean() / DAYS) if called.any() else math.nan


def measure(replays: int, seed: int) -> dict[str, dict[str, float]]:
    """Of each rule: false over one and three horizons; power at the horizon where a fixed test has 80 %."""
    rng = np.random.default_rng(seed)
    effect = _effect()
    none, some = days(rng, replays, 0.0, HORIZONS), days(rng, replays, effect, 1)
    made: dict[str, dict[str, float]] = {}
    for name, bound in rules().items():
        power, when = found(some, bound)
        made[name] = {
            "false_one_horizon": found(none[:, :DAYS], bound)[0], "false_three_horizons": found(none, bound)[0],
            "power": power, "days": when,
        }  # fmt: skip
    return made


def _effect() -> float:
    """The difference that a fixed test finds in 80 %: 2.8016 standard errors."""
    effect = 0.0
    for _ in range(20):
        middle = RATE + effect / 2
        effect = 2.8016 * math.sqrt(2 * middle * (1 - middle) / (EACH * DAYS))
    return effect
