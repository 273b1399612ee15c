"""Series: intervals against the bets that they come from, exact tails, and times that resemble their neighbours."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks import _bounds
from weigh.scale.series import WHOLE, Account, MeanSeries, QuantileSeries


def given(arrays: list[np.ndarray]) -> object:
    waiting = list(arrays)

    def unseen() -> list[np.ndarray]:
        now = waiting[:]
        waiting.clear()
        return now

    return unseen


def means(values: np.ndarray, low: float = 0.0, high: float = 1.0, population: int | None = None) -> MeanSeries:
    series = MeanSeries(given([values]), low, high, population)  # type: ignore[arg-type]
    series.advance()
    return series


def times(values: np.ndarray, q: float = 0.5) -> QuantileSeries:
    series = QuantileSeries(given([values]), q, "median")  # type: ignore[arg-type]
    series.advance()
    return series


def test_an_interval_ends_where_the_evidence_does() -> None:
    series = means(np.random.default_rng(0).choice([-1.0, 0.0, 1.0], p=[0.03, 0.95, 0.02], size=2000), -1.0, 1.0)
    now = series.interval(0.05)
    assert series.evidence(now.low, 0) >= math.log(40) > series.evidence(now.low + 1e-6, 0)
    assert series.evidence(now.high, 1) >= math.log(40) > series.evidence(now.high - 1e-6, 1)
    assert now.contains(-0.01) and now.n == 2000 and now.exact


def test_as_narrow_as_the_beta_binomial_mixture() -> None:
    """Which is made for 0/1 values; its ends are where the likelihood ratio of the mixture reaches 1 / alpha."""
    values = (np.random.default_rng(1).random(3000) < 0.9).astype(float)
    low, high = _bounds.binomial(values.sum(), 3000, 0.05)
    assert means(values).interval(0.05).width == pytest.approx(high - low, rel=0.15)


def test_a_population_that_is_drawn_to_its_end_is_known() -> None:
    values = np.random.default_rng(2).permutation(np.arange(500) < 430).astype(float)
    assert means(values, population=500).interval(0.05).width < 0.005


def test_more_weight_narrows_and_an_account_from_a_mark_on_counts_too() -> None:
    values = (np.random.default_rng(3).random(1000) < 0.8).astype(float)
    few, many = (means(values).interval(0.05, [Account(w)], [Account(w)]) for w in (0.01, 1.0))
    assert few.low < many.low < many.high < few.high
    series = MeanSeries(given([values[:200]]), 0.0, 1.0, None)  # type: ignore[arg-type]
    series.advance()
    account = series.open(0.7, 0, 0.5)
    both = [Account(0.1), account]
    assert series.evidence(0.7, 0, both) == pytest.approx(max(series.evidence(0.7, 0, [a]) for a in both))


def test_a_median_is_bounded_by_order_statistics() -> None:
    """The share of values below the lower end is what a binomial tail, mixed over bets, makes too small."""
    values = np.sort(np.random.default_rng(4).lognormal(size=400))
    now = times(values[np.random.default_rng(5).permutation(400)]).interval(0.05)
    below = int((values < now.low).sum())
    assert now.contains(1.0) and not now.exact
    assert stats.binom.cdf(below, 400, 0.5) < 0.025
    assert stats.binom.cdf(below + 25, 400, 0.5) > 0.0001, "not wider than it need be"


def test_rounds_that_resemble_their_neighbours_say_less() -> None:
    rng = np.random.default_rng(6)
    alone = np.exp(rng.normal(size=600))
    noise, series = rng.normal(size=600), np.zeros(600)
    for i in range(1, 600):
        series[i] = 0.8 * series[i - 1] + 0.6 * noise[i]
    assert times(np.exp(series)).interval(0.05).width > 1.5 * times(alone).interval(0.05).width


def test_nothing_is_claimed_of_a_few_rounds() -> None:
    now = times(np.linspace(1.0, 2.0, 12)).interval(0.05)
    assert (now.low, now.high) == (0.0, math.inf)


def test_beyond_what_any_value_can_be_nothing_is_in_doubt() -> None:
    series = means(np.full(5, 0.5))
    assert series.evidence(-0.1, 0, WHOLE) > 100 and series.evidence(1.2, 1, WHOLE) > 100
    assert series.evidence(1.2, 0, WHOLE) < 0


def test_what_is_needed_is_about_what_it_takes() -> None:
    """Told after 400 values, the claim is certified within a factor of three of that, in the middle of many runs."""
    ratios = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        values = (rng.random(20000) < 0.55).astype(float)
        series = means(values[:400])
        told = 400 + series.needed(0.5, 0, math.log(20) - series.evidence(0.5, 0))
        tops = [means(values[:n]).evidence(0.5, 0) for n in range(200, 4000, 100)]
        taken = next((200 + 100 * i for i, top in enumerate(tops) if top >= math.log(20)), 4000)
        ratios.append(told / taken)
    assert 1 / 3 <= np.median(ratios) <= 3


def ever_missed(values: np.ndarray, truth: float, alpha: float) -> bool:
    waiting: list[np.ndarray] = []
    series = QuantileSeries(lambda: [waiting.pop()], 0.5, "median")
    for part in np.array_split(values, 20):
        waiting.append(part)
        series.advance()
        if not series.interval(alpha).contains(truth):
            return True
    return False


def test_a_median_is_ever_left_out_at_most_alpha_of_the_time() -> None:
    """Log-normal noise, with one round in ten slowed by up to 20 times on either side."""
    rng, paths, alpha, missed, widths = np.random.default_rng(1), 250, 0.1, 0, []
    for _ in range(paths):
        logs = 0.1 * rng.normal(size=300) + rng.choice([-1, 0, 0, 0, 0, 0, 0, 0, 0, 1], 300) * rng.uniform(0, 3, 300)
        missed += ever_missed(1.3 * np.exp(logs), 1.3, alpha)
        widths.append(times(1.3 * np.exp(logs)).interval(alpha).width)
    assert missed <= paths * (alpha + 3 * math.sqrt(alpha * (1 - alpha) / paths))
    assert np.median(widths) < 0.12


@pytest.mark.parametrize("coefficient", [0.5, 0.8])
def test_neighbours_that_resemble_each_other_do_not_count_as_evidence(
    coefficient: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, paths, alpha = np.random.default_rng(2), 200, 0.1
    noise, logs = rng.normal(size=(paths, 400)), np.zeros((paths, 400))
    for t in range(1, 400):
        logs[:, t] = coefficient * logs[:, t - 1] + noise[:, t]
    tempered = sum(ever_missed(path, 1.0, alpha) for path in np.exp(logs))
    monkeypatch.setattr(QuantileSeries, "_slower", lambda series: 1.0)
    plain = sum(ever_missed(path, 1.0, alpha) for path in np.exp(logs))
    assert tempered <= paths * alpha
    assert plain > 1.5 * paths * alpha
