"""Pairs and wagers: what they make of values, whatever the calls, and how often they are wrong."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from weigh.scale.bets import Tally, mixed
from weigh.scale.paired import MOST_WAITING, Pairs, Wagers


def _traffic(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.random(n) < 0.5, (rng.random(n) < 0.3).astype(float)


@pytest.mark.parametrize("seed", range(4))
def test_how_pairs_are_cut_into_calls_does_not_matter(seed):
    canary, values = _traffic(seed, 3000)
    whole = Pairs().take(canary, values)
    cuts = np.sort(np.random.default_rng(seed + 100).integers(0, 3000, 40))
    pairs = Pairs()
    parts = [pairs.take(a, b) for a, b in zip(np.split(canary, cuts), np.split(values, cuts))]
    assert np.array_equal(np.concatenate(parts), whole)
    mine, theirs = values[canary], values[~canary]
    n = min(mine.size, theirs.size)
    assert np.array_equal(whole, mine[:n] - theirs[:n])


def test_of_an_arm_that_runs_ahead_the_oldest_values_go_whatever_the_calls():
    canary = np.array([True] * 2000 + [False] * 100)
    values = np.arange(2100.0)
    whole, single = Pairs(), Pairs()
    gaps = whole.take(canary, values)
    ones = np.concatenate([single.take(canary[i : i + 1], values[i : i + 1]) for i in range(2100)])
    assert np.array_equal(gaps, ones)
    assert gaps[0] == 2000 - MOST_WAITING - 2000  # the oldest that still waited, less the first baseline's
    assert len(whole.waiting) == MOST_WAITING - 100
    assert Pairs.of(json.loads(json.dumps(whole.state()))).waiting == whole.waiting


def test_wagers_hold_what_a_tally_holds():
    values = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], 500, p=[0.1, 0.7, 0.2])
    wagers = Wagers(-1.0, 1.0, [(0.02, 0), (0.3, 1)])
    for part in np.split(values, [3, 100, 101]):
        wagers.update(part)
    tally = Tally()
    tally.update((values + 1) / 2)
    for place, (bound, side) in enumerate(wagers.bounds):
        assert wagers.now()[place] == pytest.approx(mixed(tally.side((bound + 1) / 2, None, side)))
    assert (wagers.peak >= wagers.now()).all()
    other = Wagers(-1.0, 1.0, wagers.bounds)
    other.restore(json.loads(json.dumps(wagers.state())))
    assert np.array_equal(other.peak, wagers.peak) and np.array_equal(other.now(3.0), wagers.now(3.0))


def test_the_peak_is_that_of_looks_after_each_value():
    values = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], 300)
    whole, single, peak = Wagers(-1, 1, [(0.0, 0)]), Wagers(-1, 1, [(0.0, 0)]), -math.inf
    whole.update(values)
    for value in values:
        single.update(np.array([value]))
        peak = max(peak, float(single.now()[0]))
    assert whole.peak[0] == pytest.approx(max(peak, 0.0))


def test_harm_at_the_margin_is_called_at_most_alpha_of_the_time_while_rates_drift():
    """True harm is exactly the margin at every moment; the base rate doubles on the way."""
    wrong, runs, n, margin = 0, 800, 1500, 0.02
    for seed in range(runs):
        rng = np.random.default_rng([5, seed])
        canary, base = rng.random(n) < 0.5, np.linspace(0.05, 0.10, n)
        values = (rng.random(n) < base + margin * canary).astype(float)
        wagers = Wagers(-1.0, 1.0, [(margin, 0), (margin, 1)])
        wagers.update(Pairs().take(canary, values))
        wrong += (wagers.peak >= math.log(1 / 0.1)).astype(int)
    assert (wrong <= 0.1 * runs).all(), wrong
