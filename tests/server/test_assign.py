"""Who meets which arm: uniform, the same for ever, and growing with the share."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from weigh.server.assign import arm_of, place, shares


def test_places_are_uniform_and_independent_between_rollouts():
    places = np.array([[place(salt, f"user-{k}") for k in range(20_000)] for salt in ("0001-aa", "0002-bb")])
    assert all(stats.kstest(row, "uniform").pvalue > 0.001 for row in places)
    assert abs(np.corrcoef(places)[0, 1]) < 0.03


def test_a_place_never_changes():
    """Held as numbers: another hash would move users between arms in the middle of a rollout."""
    told = [round(place("0001-aa", unit), 6) for unit in ("ann", "", "Zoë", "\ud800")]
    assert told == [0.167801, 0.208604, 0.338684, 0.009972]


@pytest.mark.parametrize("share", [0.01, 0.05, 0.25, 0.5, 0.9])
def test_baseline_and_canary_get_as_much(share: float):
    cut = {one.arm: one.high - one.low for one in shares(share)}
    assert cut["canary"] == pytest.approx(share) and cut["baseline"] == pytest.approx(min(share, 1 - share))
    assert sum(cut.values()) == pytest.approx(1)


def test_whoever_met_the_canary_still_does_as_it_grows():
    stages = [shares(one) for one in (0.01, 0.05, 0.25, 0.5, 1.0)]
    for where in np.random.default_rng(0).random(5000):
        met = [arm_of(float(where), cut) for cut in stages]
        first = {arm: met.index(arm) for arm in ("canary", "baseline") if arm in met}
        if "canary" in first and "baseline" not in first:
            assert set(met[first["canary"] :]) == {"canary"}
        if "baseline" in first:
            assert set(met[first["baseline"] : -1]) == {"baseline"} and met[-1] == "canary"
