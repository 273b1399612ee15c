"""What others do, written anew from their documents and source: which bounds they use, when they fail a canary."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FIXED = 1.959964


def growthbook(n: Floats, alpha: float = 0.05, tuning: float = 5000.0) -> Floats:
    """What |z| must exceed with n units in both arms: GrowthBook's default sequential test.

    Source: docs.growthbook.io/statistics/sequential (asymptotic confidence sequence of 2103.06476, two-sided, rho
    chosen for 5,000 units).
    """
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / tuning
    grown = n * rho2
    return np.sqrt((1 + 1 / grown) * (np.log1p(grown) - 2 * math.log(alpha)))


def kayenta(canary: Floats, baseline: Floats, confidence: float = 0.98, tolerance: float = 0.25) -> Bools:
    """Whether Kayenta's judge calls the canary High or Low; values of shape (replays, points) each.

    The interval of the Hodges-Lehmann shift by order statistics of all differences, as R's `wilcox.test` gives it for
    more than 50 points, must lie beyond a quarter of the shift.

    Source: NetflixACAJudge and MannWhitneyClassifier, github.com/spinnaker/kayenta (tolerance 0.25, confidence 0.98).
    """
    from statistics import NormalDist

    n, m = canary.shape[1], baseline.shape[1]
    place = n * m / 2 - NormalDist().inv_cdf(0.5 + confidence / 2) * math.sqrt(n * m * (n + m + 1) / 12)
    low = max(round(place), 0)
    failed = np.zeros(len(canary), dtype=bool)
    for row, (one, other) in enumerate(zip(canary, baseline, strict=True)):
        gaps = np.partition((one[:, None] - other[None, :]).ravel(), (low, n * m // 2, n * m - 1 - low))
        margin = tolerance * abs(gaps[n * m // 2])
        failed[row] = gaps[low] > margin or gaps[n * m - 1 - low] < -margin
    return failed


def argo(errors: Floats, requests: Floats, least: float = 0.95, every: int = 5, limit: int = 3) -> NDArray[np.int64]:
    """The minute at which Argo Rollouts aborts, or -1; counts of the canary by minute, shape (replays, minutes).

    Source: argo-rollouts docs/features/analysis.md: success rate of five minutes at least 0.95, `failureLimit: 3`.
    """
    shape = (len(errors), -1, every)
    served = requests.reshape(shape).sum(axis=2)
    share = 1 - errors.reshape(shape).sum(axis=2) / np.maximum(served, 1)
    failures = ((share < least) & (served > 0)).cumsum(axis=1)
    return _first(failures > limit, every)


def flagger(failed: Bools, threshold: int = 5, steps: int = 5) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The minute at which Flagger rolls back, and the one at which it promotes, -1 where it does not.

    Each minute one check; one that passes moves the weight on by a step, one that fails leaves it and counts.

    Source: docs.flagger.app/usage/deployment-strategies: interval 1m, threshold 5, stepWeight 10, maxWeight 50.

    Args:
        failed: whether the check fails at (replays, minutes, steps): at each minute and weight.
    """
    replays, minutes, _ = failed.shape
    step, count = np.zeros(replays, dtype=int), np.zeros(replays, dtype=int)
    back, promoted = np.full(replays, -1), np.full(replays, -1)
    for minute in range(minutes):
        live = (back < 0) & (promoted < 0)
        bad = failed[np.arange(replays), minute, np.minimum(step, steps - 1)]
        count += live & bad
        step += live & ~bad
        back[live & (count >= threshold)] = minute
        promoted[live & (back < 0) & (step >= steps)] = minute
    return back, promoted


def _first(when: Bools, every: int) -> NDArray[np.int64]:
    return np.where(when.any(axis=1), (when.argmax(axis=1) + 1) * every - 1, -1)
