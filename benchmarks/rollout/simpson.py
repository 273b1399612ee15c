"""A ramp while the base rate moves: logs pooled, stratified by stage, and with an equal baseline at each stage."""

from __future__ import annotations

import numpy as np

from benchmarks.rollout.peers import FIXED, Floats

SHARES = np.array([0.01, 0.05, 0.25, 0.50])
RATES = np.linspace(0.050, 0.045, 4)
EACH = 55_000
"""Requests at each stage."""


def measure(replays: int, seed: int) -> dict[str, float]:
    """How often a difference is called where there is none."""
    rng = np.random.default_rng(seed)
    canary = np.round(EACH * SHARES)
    mine, rest, fresh = (
        rng.binomial(n.astype(int), RATES, (replays, 4)).astype(float) for n in (canary, EACH - canary, canary)
    )
    pooled = _z(
        mine.sum(axis=1)[:, None],
        np.array([canary.sum()]),
        rest.sum(axis=1)[:, None],
        np.array([(EACH - canary).sum()]),
    )
    return {
        "pooled": float((np.abs(pooled) > FIXED).mean()),
        "stratified": float((np.abs(_z(mine, canary, rest, EACH - canary)) > FIXED).mean()),
        "weigh_equal_baseline": float((np.abs(_z(mine, canary, fresh, canary)) > FIXED).mean()),
    }


def _z(mine: Floats, n: Floats, theirs: Floats, m: Floats) -> Floats:
    """Cochran's z over the strata of the last axis, as `weigh.rollout.goal.GoalTest.z` has it."""
    weight = n * m / (n + m)
    share = (mine + theirs) / (n + m)
    variance = (weight * share * (1 - share) * (n + m) / (n + m - 1)).sum(axis=1)
    z: Floats = (weight * (mine / n - theirs / m)).sum(axis=1) / np.sqrt(variance)
    return z
