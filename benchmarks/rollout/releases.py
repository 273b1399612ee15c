"""Whole rollouts, request by request, judged by the deployed judge: no difference, and planted regressions."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from benchmarks.rollout.peers import FIXED, Floats, argo, flagger, growthbook, kayenta
from weigh.rollout.judge import Judge
from weigh.rollout.plan import RolloutPlan
from weigh.scale.spending import bounds

MINUTE, DAY = 60.0, 86_400.0
BASE, SPREAD, MEDIAN = 0.005, 0.5, 100.0
"""Share of requests that fail, spread of the log of their times, and the median time in ms."""
SIZES = (0.01, 0.02, 0.05)
LOOKS, RATE = 3, 120
"""Looks a day at the next share and the goal (harm is looked at after every request); requests a minute."""


class Release(NamedTuple):
    """What is planted: more errors, slow minutes."""

    name: str
    errors: float = 0.0
    slow: float = 1.0


RELEASES = (
    Release("same"), *(Release(f"{100 * size:g}_points", errors=size) for size in SIZES), Release("tail", slow=10.0)
)  # fmt: skip


def quiet(seed: int) -> tuple[str, float]:
    """The verdict on a release without any difference, 28 days of 3,000 requests, while base rates drift, and its day.

    Errors fall from 5.0 to 4.5 % and conversions from 10 to 9 %, with waves of a day. Harm is looked at after every
    request, the goal whenever a look is due.
    """
    plan = RolloutPlan(
        guardrails=["error <= baseline + 0.02"], goal="conversion > baseline", metrics=[{"name": "conversion"}],
        horizon=20_000, least=50,
    )  # fmt: skip
    rng, judge, stage = np.random.default_rng([7, seed]), Judge(plan), 0
    for tick in range(28 * LOOKS):
        share = plan.shares[stage]
        canary = rng.random(rng.binomial(3000 // LOOKS, 2 * share)) < 0.5
        day = (tick + np.sort(rng.random(canary.size))) / LOOKS
        wave = 1 + 0.2 * np.sin(2 * np.pi * day)
        values = {
            "error": rng.random(day.size) < (0.05 - 0.005 * day / 28) * wave,
            "conversion": rng.random(day.size) < (0.10 - 0.01 * day / 28) * wave,
        }
        judge.add(stage, canary, day * DAY, values)
        said = judge.look(words=False)
        if said.verdict != "hold":
            return said.verdict, (tick + 1) / LOOKS
        stage = said.stage
    return "hold", 28.0


def planted(release: Release, seed: int, at: float = 0.0, days: int = 3, rate: int = RATE) -> tuple[str, float, float]:
    """The verdict on a release, the hours that it took, and the share of all requests of those days that it served.

    `rate` requests a minute; 1 -> 5 -> 25 -> 50 %, or all the time the share `at`; latency by minute.
    """
    plan = RolloutPlan(guardrails=["error <= baseline + 0.005", "p99(latency) <= 1.2x baseline"], least=50)
    rng, judge, stage, served = np.random.default_rng([8, seed]), Judge(plan), 0, 0
    ticks = days * 24 * 6
    for tick in range(ticks):
        share = at or plan.shares[stage]
        canary = rng.random(rng.binomial(10 * rate, 2 * share)) < 0.5
        minute = 10 * tick + np.sort(rng.random(canary.size)) * 10
        values = drawn(release, rng, canary, minute)
        judge.add(stage, canary, minute * MINUTE, values)
        served += int(canary.sum())
        said = judge.look(words=False)
        if said.verdict != "hold":
            after = (ticks - tick - 1) * 10 * rate if said.verdict == "ship" else 0
            return said.verdict, (tick + 1) / 6, (served + after) / (ticks * 10 * rate)
        stage = 0 if at else said.stage
    return "hold", days * 24.0, served / (ticks * 10 * rate)


def drawn(release: Release, rng: np.random.Generator, canary: np.ndarray, minute: Floats) -> dict[str, Floats]:
    """Errors and times of requests at the given minutes."""
    failing = np.where(canary, BASE + release.errors, BASE)
    slow = rng.random(int(minute.max(initial=0)) + 1) < 0.1
    factor = np.where(canary & slow[minute.astype(int)], release.slow, 1.0)
    times = MEDIAN * np.exp(SPREAD * rng.standard_normal(canary.size)) * factor
    return {"error": (rng.random(canary.size) < failing).astype(float), "latency": times}


def others(release: Release, replays: int, seed: int, days: int = 3, rate: int = RATE) -> dict[str, dict[str, float]]:
    """What the others do with the same release: share rolled back, hours, share of requests that it served.

    Tests compare 10 % of the requests with 10 % each hour, on errors; Kayenta's judge looks at one to three hours of
    10 %, by minute; Argo Rollouts and Flagger step up within the hour.
    """
    rng = np.random.default_rng([9, seed])
    made = _tests(release, rng, replays, days * 24, rate * 6)
    made["Kayenta"] = _kayenta(release, rng, replays, rate // 10, days)
    made["Argo Rollouts"] = _argo(release, rng, replays, rate, days)
    made["Flagger"] = _flagger(release, rng, replays, rate, days)
    return made


def _tests(
    release: Release, rng: np.random.Generator, replays: int, hours: int, each: int
) -> dict[str, dict[str, float]]:
    rates = (BASE, BASE + release.errors)
    base, new = (rng.binomial(each, share, (replays, hours)).cumsum(axis=1) for share in rates)
    n = each * np.arange(1.0, hours + 1)
    pooled = (base + new) / (2 * n)
    z = (new - base) / n / np.sqrt(np.maximum(2 * pooled * (1 - pooled) / n, 1e-12))
    once = np.full(hours, math.inf)
    once[-1] = FIXED
    planned = np.array(bounds([hour / hours for hour in range(1, hours + 1)], 0.025))
    rules = {
        "fixed horizon": once,
        "O'Brien-Fleming": planned,
        "GrowthBook": growthbook(2 * n),
        "hourly peeking": FIXED,
    }
    return {name: _summed(np.asarray(z >= bound), 0.1, hours) for name, bound in rules.items()}


def _summed(over: np.ndarray, share: float, hours: int) -> dict[str, float]:
    """From where a rule says that the release is worse, shape (replays, hours); what is never found is shipped."""
    called = np.asarray(over.any(axis=1))
    hour = np.where(called, over.argmax(axis=1) + 1, hours)
    return _row(called, hour, share * hour / hours)


def _row(called: np.ndarray, hour: np.ndarray, exposed: np.ndarray) -> dict[str, float]:
    return {
        "rolled_back": float(called.mean()), "hours": float(hour[called].mean()) if called.any() else math.nan,
        "exposed": float(exposed.mean()),
    }  # fmt: skip


def _minutes(
    release: Release, rng: np.random.Generator, shape: tuple[int, int, int], new: bool
) -> tuple[Floats, Floats]:
    """Error rate and mean time of each minute of so many requests; shape (replays, minutes, requests)."""
    errors = rng.binomial(shape[2], BASE + new * release.errors, shape[:2]) / shape[2]
    times = MEDIAN * np.exp(SPREAD * rng.standard_normal(shape)).mean(axis=2)
    if new:
        times = np.where(rng.random(shape[:2]) < 0.1, times * release.slow, times)
    return errors, times


def _kayenta(release: Release, rng: np.random.Generator, replays: int, each: int, days: int) -> dict[str, float]:
    """Judged after one, two and three hours on all minutes so far; one metric that fails, fails the canary."""
    base, new = (_minutes(release, rng, (replays, 180, each), arm) for arm in (False, True))
    found = [
        np.any([kayenta(one[:, : 60 * hour], other[:, : 60 * hour]) for one, other in zip(new, base)], axis=0)
        for hour in (1, 2, 3)
    ]
    over = np.stack(found, axis=1)
    called = np.asarray(over.any(axis=1))
    hour = np.where(called, over.argmax(axis=1) + 1, 3)
    total = days * 24
    return _row(called, hour, (0.1 * hour + np.where(called, 0, total - 3)) / total)


def _argo(release: Release, rng: np.random.Generator, replays: int, rate: int, days: int) -> dict[str, float]:
    """20, 40, 60, 80 % for ten minutes each, then all; the analysis runs in the background for an hour."""
    weights = np.repeat([0.2, 0.4, 0.6, 0.8, 1.0, 1.0], 10)
    requests = np.broadcast_to(np.round(rate * weights), (replays, 60))
    back = argo(rng.binomial(requests.astype(int), BASE + release.errors).astype(float), requests)
    called, total = back >= 0, days * 24 * 60
    until = np.where(called, back + 1, 60)
    served = np.concatenate([[0.0], weights.cumsum()])[until] + np.where(called, 0, total - 60)
    return _row(called, until / 60, served / total)


def _flagger(release: Release, rng: np.random.Generator, replays: int, rate: int, days: int) -> dict[str, float]:
    """10 to 50 % in steps of 10, one a minute: success rate at least 99 %, p99 at most 500 ms."""
    slow = rng.random((replays, 60)) < 0.1
    failed = np.zeros((replays, 60, 5), dtype=bool)
    for step in range(5):
        count = round(rate * 0.1 * (step + 1))
        errors = rng.binomial(count, BASE + release.errors, (replays, 60)) / count
        times = MEDIAN * np.exp(SPREAD * rng.standard_normal((replays, 60, count)))
        times = times * np.where(slow, release.slow, 1.0)[:, :, None]
        failed[:, :, step] = (errors > 0.01) | (np.quantile(times, 0.99, axis=2) > 500.0)
    back, promoted = flagger(failed)
    called, total = back >= 0, days * 24 * 60
    until = np.where(called, back, np.where(promoted >= 0, promoted, 59)) + 1
    served = 0.3 * until + np.where(called, 0, total - until)
    return _row(called, until / 60, served / total)
