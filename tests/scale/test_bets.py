"""Bets at one bound: the error rate by simulation, exactness on the grid, understatement between, joining, draws."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest

from weigh.scale.bets import FRACTIONS, PRIOR, Drawn, Tally, gap, mixed, tuned


def by_hand(z: np.ndarray, bound: float) -> np.ndarray:
    """Log-wealth of each bet, value by value."""
    up = np.log1p(FRACTIONS[:, None] * (z / bound - 1)).sum(axis=1)
    down = np.log1p(FRACTIONS[:, None] * ((1 - z) / (1 - bound) - 1)).sum(axis=1)
    return np.stack([up, down])


def filled(tally: Tally, z: np.ndarray) -> Tally:
    tally.update(z)
    return tally


def test_what_lies_on_the_grid_counts_exactly() -> None:
    z = np.random.default_rng(0).choice([0.0, 0.5, 1.0], size=300)
    assert filled(Tally(), z).logs(0.37) == pytest.approx(by_hand(z, 0.37), abs=1e-9)


def test_between_cells_wealth_is_understated_by_little() -> None:
    z = np.random.default_rng(1).beta(2, 3, size=400)
    told, truth = filled(Tally(), z).logs(0.37), by_hand(z, 0.37)
    assert (told <= truth + 1e-9).all()
    assert all(mixed(b) - mixed(a) < 0.005 for a, b in zip(told, truth))


def test_what_two_workers_saw_is_joined_and_kept_as_json() -> None:
    z = np.random.default_rng(2).random(100)
    one, other = filled(Tally(), z[:30]), filled(Tally(), z[30:])
    one.merge(Tally.of(json.loads(json.dumps(other.state()))))
    assert one.logs(0.6) == pytest.approx(filled(Tally(), z).logs(0.6)) and one.n == 100


def test_draws_without_replacement_agree_with_every_order_of_a_small_population() -> None:
    """The mean over all orders of the wealth after each draw is at most 1: exactly, by enumeration."""
    members = np.array([0.0, 0.0, 1.0, 0.5, 1.0])
    for drawn in (1, 3, 4):
        wealth = [np.exp(filled(Drawn(5), members[list(p)[:drawn]]).logs(0.5)) @ PRIOR for p in orders(5)]
        held = np.mean(wealth, axis=0)
        assert (held <= 1 + 1e-9).all() and (drawn > 1 or (held > 1 - 1e-9).all())


def orders(n: int) -> list[tuple[int, ...]]:
    return list(itertools.permutations(range(n)))


def test_a_mark_begins_anew() -> None:
    z = np.random.default_rng(3).choice([0.0, 1.0], size=200)
    for tally, alone in ((Tally(), Tally()), (Drawn(1000), None)):
        tally.update(z[:80])
        mark = tally.mark()
        before = tally.logs(0.4).copy()
        tally.update(z[80:])
        since = tally.logs(0.4, mark)
        assert since == pytest.approx(tally.logs(0.4) - before)
        if alone is not None:
            assert since == pytest.approx(filled(alone, z[80:]).logs(0.4))


@pytest.mark.parametrize("population", [None, 1500])
@pytest.mark.parametrize("mean", [0.5, 0.95])
def test_a_true_bound_is_ever_disproved_at_most_alpha_of_the_time(population: int | None, mean: float) -> None:
    wrong = np.zeros(2)
    for seed in range(400):
        rng = np.random.default_rng(seed)
        if population is None:
            z, tally = (rng.random(800) < mean).astype(float), Tally()
        else:
            z, tally = rng.permutation(np.arange(population) < mean * population).astype(float)[:800], Drawn(population)
        top = np.zeros(2)
        for part in np.split(z, 16):
            tally.update(part)
            top = np.maximum(top, [mixed(logs) for logs in tally.logs(mean)])
        wrong += top >= math.log(10)
    assert (wrong <= 55).all(), "40 of 400 expected at most, 2.5 sigma above"


def test_impossible_bounds_of_a_population_are_disproved_at_once() -> None:
    tally = filled(Drawn(100), np.ones(60))
    assert mixed(tally.logs(0.5)[0]) > 500, "60 ones among 100 exclude a mean of 0.5"
    assert mixed(tally.logs(0.7)[0]) < 100
    with pytest.raises(ValueError, match="population has 100 members"):
        tally.update(np.ones(41))
    with pytest.raises(ValueError, match="cannot be joined"):
        tally.merge(Drawn(100))


def test_tuned_bets_grow_faster_than_the_spread_ones() -> None:
    rng = np.random.default_rng(5)
    first, more = (rng.random(200) < 0.53).astype(float), (rng.random(4000) < 0.53).astype(float)
    prior = tuned(filled(Tally(), first), 0.5, 0)
    logs = filled(Tally(), more).logs(0.5)[0]
    assert prior.sum() == pytest.approx(1.0) and mixed(logs, prior) > mixed(logs) + 0.5


def test_what_never_varied_is_not_taken_to_be_certain() -> None:
    beyond, variance = gap(filled(Tally(), np.ones(20)), 0.9, 0)
    assert beyond == pytest.approx(0.1) and variance > 0.04
