"""One value a minute and arm that resembles its neighbours: who calls a healthy canary bad, and who sees a bad tail."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.rollout.peers import Floats, kayenta
from weigh.rollout.judge import Judge
from weigh.rollout.plan import RolloutPlan

MEDIAN, SPREAD = 100.0, 0.3
DAY = 1440


def series(
    rng: np.random.Generator, replays: int, minutes: int, memory: float, shared: float = 0.0
) -> tuple[Floats, Floats]:
    """Baseline and canary, shape (replays, minutes) each: times whose logs are AR(1), of which a share is common."""
    made = np.empty((3, replays, minutes))
    noise = rng.standard_normal(made.shape)
    made[:, :, 0] = noise[:, :, 0]
    root = math.sqrt(1 - memory**2)
    for minute in range(1, minutes):
        made[:, :, minute] = memory * made[:, :, minute - 1] + root * noise[:, :, minute]
    own, common = math.sqrt(1 - shared), math.sqrt(shared)
    baseline, canary = (MEDIAN * np.exp(SPREAD * (own * one + common * made[2])) for one in made[:2])
    return baseline, canary


def slowed(rng: np.random.Generator, canary: Floats) -> Floats:
    """One minute in ten ten times slower."""
    return np.where(rng.random(canary.shape) < 0.1, canary * 10.0, canary)


def judged(baseline: Floats, canary: Floats, guardrail: str) -> int:
    """The minute at which the deployed judge rolls back, or -1; each of shape (minutes,)."""
    plan = RolloutPlan(guardrails=[guardrail], stages=(0.5, 1.0))
    judge, arm = Judge(plan), np.tile([False, True], 60)
    for start in range(0, baseline.size, 60):
        values = np.stack([baseline[start : start + 60], canary[start : start + 60]], axis=1).ravel()
        judge.add(
            0,
            arm[: values.size],
            60.0 * np.repeat(np.arange(start, start + values.size // 2, dtype=np.float64), 2),
            {"latency": values},
        )
        if judge.look(words=False).verdict == "roll back":
            return start + 60
    return -1


def one(task: tuple[str, float, float, int]) -> int:
    """A replay of (guardrail, coefficient, shared part, seed); a negative seed has a bad tail."""
    guardrail, memory, shared, seed = task
    rng = np.random.default_rng([11, abs(seed), int(1000 * memory), int(100 * shared)])
    baseline, canary = (values[0] for values in series(rng, 1, DAY, memory, shared))
    return judged(baseline, slowed(rng, canary) if seed < 0 else canary, guardrail)


def of_kayenta(replays: int, seed: int) -> dict[str, float]:
    """How often Kayenta's judge fails a metric of an hour: healthy ones, and one with a bad tail."""
    rng = np.random.default_rng(seed)
    made = {}
    for memory in (0.0, 0.8, 0.95):
        baseline, canary = series(rng, replays, 60, memory)
        made[f"kayenta_false_ar_{memory:g}"] = float(kayenta(canary, baseline).mean())
    baseline, canary = series(rng, replays, 60, 0.0)
    made["kayenta_tail_missed"] = 1 - float(kayenta(slowed(rng, canary), baseline).mean())
    return made
