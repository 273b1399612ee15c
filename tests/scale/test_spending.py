"""Spending up to the horizon and the reserve beyond it: against published bounds, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from weigh.scale.spending import beyond, bounds, look, spent


@pytest.mark.parametrize(
    ("times", "alpha", "published"),
    [
        ([0.2, 0.4, 0.6, 0.8, 1.0], 0.025, [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]),
        ([1.0], 0.025, [1.95996]),
        ([0.5, 1.0], 0.025, [2.9626, 1.9686]),
    ],
)
def test_bounds_are_those_of_lan_and_demets(times, alpha, published):
    """Reboussin, DeMets, Kim and Lan, Controlled Clinical Trials 21, 2000 (ld98; spending function 1)."""
    assert bounds(times, alpha) == pytest.approx(published, abs=2e-3)


def test_all_of_alpha_is_spent_at_the_horizon_and_no_more():
    assert spent(1.0, 0.02) == pytest.approx(0.02) == spent(1.7, 0.02)


def test_looks_and_reserve_are_wrong_at_most_alpha_over_three_horizons():
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((20_000, 84)) / np.sqrt(28)
    times = np.arange(1, 85) / 28
    z = steps.cumsum(axis=1) / np.sqrt(times)
    needed = np.array(
        [look([*times[: min(day, 28)], *times[day - 1 : day]][: max(day, 1)], 0.025).bound for day in range(1, 85)]
    )
    assert needed[28] == pytest.approx(beyond(29 / 28, 0.0025))
    ours = (np.abs(z) >= needed).any(axis=1).mean()
    naive = (np.abs(z[:, :28]) >= 1.96).any(axis=1).mean()
    assert 0.038 < ours < 0.05
    assert naive == pytest.approx(0.277, abs=0.012)


def test_what_cannot_be_looked_at_is_refused():
    with pytest.raises(ValueError, match="times above 0 that increase"):
        bounds([0.5, 0.5], 0.025)
    with pytest.raises(ValueError, match="error rate"):
        bounds([1.0], 1.5)
