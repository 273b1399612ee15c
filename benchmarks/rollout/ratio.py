"""Sample ratio: hourly looks for four weeks, at sound assignment and at one that is off by a point."""

from __future__ import annotations

import math

import numpy as np

from weigh.scale.sample_ratio import CONCENTRATION

HOURS, EACH, ALPHA = 672, 200, 0.001


def measure(replays: int, seed: int) -> dict[str, float]:
    """How often a chi-squared test and the e-test raise an alarm."""
    rng = np.random.default_rng(seed)
    sound, off = (rng.binomial(EACH, share, (replays, HOURS)).cumsum(axis=1) for share in (0.5, 0.51))
    return {
        "chi2_hourly_false": float(_chi2(sound).any(axis=1).mean()),
        "chi2_once_false": float(_chi2(sound)[:, -1].mean()),
        "weigh_hourly_false": float(_evidence(sound).any(axis=1).mean()),
        "weigh_found_of_one_point": float(_evidence(off).any(axis=1).mean()),
        "weigh_hours_to_find": float((_evidence(off).argmax(axis=1) + 1)[_evidence(off).any(axis=1)].mean()),
    }


def _chi2(ones: np.ndarray) -> np.ndarray:
    n = EACH * np.arange(1.0, HOURS + 1)
    critical = 10.8276  # of chi-squared with one degree of freedom at .001
    return np.asarray((2 * ones - n) ** 2 / n > critical)


def _evidence(ones: np.ndarray) -> np.ndarray:
    """Where `weigh.scale.sample_ratio.log_bayes_factor` reaches 1 / alpha."""
    total = EACH * np.arange(1, HOURS + 1)
    gamma = np.array([math.lgamma(CONCENTRATION / 2 + count) for count in range(int(total[-1]) + 1)])
    whole = np.array([math.lgamma(CONCENTRATION + count) for count in range(int(total[-1]) + 1)])
    log = math.lgamma(CONCENTRATION) - whole[total] - 2 * math.lgamma(CONCENTRATION / 2) + total * math.log(2)
    return np.asarray(gamma[ones] + gamma[total - ones] + log >= -math.log(ALPHA))
