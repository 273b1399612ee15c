import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weigh.scale.interval import Floats, Interval
from weigh.scale.quantile import QuantileSequence, critical_counts


def run(values: Floats | list[float], q: float, alpha: float = 0.05) -> Interval:
    sequence = QuantileSequence(q, alpha)
    sequence.update(values)
    return sequence.interval()


@pytest.mark.parametrize("q", [0.05, 0.5, 0.95])
def test_exact_chance_that_a_count_ever_reaches_the_critical_one(q: float) -> None:
    """Follows the distribution of the count through 1,500 values, without simulation."""
    alpha, last = 0.05, 1500
    alive, rejected = np.zeros(last + 2), 0.0
    alive[0] = 1.0
    for critical in critical_counts(q, alpha, 1, last + 1):
        alive[1:] = (1 - q) * alive[1:] + q * alive[:-1]
        alive[0] *= 1 - q
        rejected += alive[critical:].sum()
        alive[critical:] = 0.0
    assert 0.2 * alpha < rejected <= alpha


def test_critical_counts_do_not_depend_on_where_the_table_starts() -> None:
    assert critical_counts(0.9, 0.01, 1, 300)[199:].tolist() == critical_counts(0.9, 0.01, 200, 300).tolist()


@pytest.mark.parametrize("q", [0.5, 0.95])
@pytest.mark.parametrize("kind", ["heavy", "ties"])
def test_the_quantile_is_ever_left_out_at_most_alpha_of_the_time(q: float, kind: str) -> None:
    rng, paths, alpha = np.random.default_rng(1), 200, 0.1
    if kind == "heavy":
        truth = (1 - q) ** (-1 / 1.1) - 1
        last = [run(rng.pareto(1.1, 500), q, alpha) for _ in range(paths)]
    else:
        truth = {0.5: 2.0, 0.95: 4.0}[q]
        last = [
            run(rng.choice([1.0, 2.0, 3.0, 4.0, 5.0], 500, p=[0.3, 0.3, 0.3, 0.08, 0.02]), q, alpha)
            for _ in range(paths)
        ]
    missed = sum(not i.contains(truth) for i in last)
    assert missed <= paths * (alpha + 3 * math.sqrt(alpha * (1 - alpha) / paths))


def test_where_many_points_are_medians_all_stay_in() -> None:
    """Half the values are 0 and half are 1: every point between is a median."""
    rng = np.random.default_rng(2)
    last = [run(rng.integers(0, 2, 400).astype(float), 0.5, 0.1) for _ in range(200)]
    assert sum(i.low > 0 or i.high < 1 for i in last) <= 200 * 0.1 + 3 * math.sqrt(200 * 0.09)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.1, 0.5, 0.9]), st.booleans())
def test_forgetting_changes_nothing(seed: int, q: float, ties: bool) -> None:
    """Against sorting all values at every step."""
    values = np.random.default_rng(seed).normal(size=900)
    values = np.round(values) if ties else values
    n = values.size
    upper, lower = critical_counts(q, 0.05, 1, n + 1), critical_counts(1 - q, 0.05, 1, n + 1)
    low, high = -math.inf, math.inf
    for t in range(1, n + 1):
        ordered = np.r_[-math.inf, np.sort(values[:t]), math.inf]
        low, high = max(low, ordered[t + 1 - lower[t - 1]]), min(high, ordered[upper[t - 1]])
    now = run(values, q, 0.1)
    if low <= high:
        assert (now.low, now.high) == (low, high)


def test_width_is_near_that_of_the_beta_binomial_mixture() -> None:
    """Howard and Ramdas' mixture, tuned to the very n, is at best a fifth narrower."""
    n, q, alpha, mass = 1000, 0.95, 0.05, 200.0
    k = np.arange(n + 1)
    lgamma = np.vectorize(math.lgamma)

    def log_beta(a: Floats, b: Floats) -> Floats:
        return lgamma(a) + lgamma(b) - lgamma(a + b)

    prior = log_beta(np.array(mass * q), np.array(mass * (1 - q)))
    wealth = log_beta(mass * q + k, mass * (1 - q) + n - k) - prior - k * math.log(q) - (n - k) * math.log(1 - q)
    theirs = np.count_nonzero(wealth < math.log(1 / alpha)) + 1
    ours = critical_counts(q, alpha / 2, n, n + 1)[0] + critical_counts(1 - q, alpha / 2, n, n + 1)[0] - n - 1
    assert ours < 1.2 * theirs


def test_ends_are_infinite_until_there_are_enough_values() -> None:
    values = np.random.default_rng(3).random(300)
    assert run(values[:60], 0.95).high == math.inf
    assert run(values[:60], 0.95).low > -math.inf
    assert run(values, 0.95).high < 1.0


def test_order_is_all_that_matters() -> None:
    values = np.random.default_rng(4).lognormal(size=600)
    plain, logs = run(values, 0.9), run(np.log(values), 0.9)
    assert (math.log(plain.low), math.log(plain.high)) == (logs.low, logs.high)


def test_estimate_is_the_sample_quantile() -> None:
    values = np.random.default_rng(5).normal(size=3001)
    assert run(values, 0.9).estimate == np.quantile(values, 0.9, method="inverted_cdf")


def test_state_stays_small() -> None:
    sequence = QuantileSequence(0.5, 0.05)
    sequence.update(np.random.default_rng(6).normal(size=20_000))
    assert len(sequence._kept) < 2_000


def test_a_level_lies_between_0_and_1() -> None:
    with pytest.raises(ValueError, match=r"q = 95 is not a quantile level; .* 0\.95 for p95"):
        QuantileSequence(95, 0.05)


def test_values_that_change_while_measured_begin_anew_and_say_so() -> None:
    """150 slow rounds, then a faster machine: the interval holds the new quantile and no longer calls itself exact."""
    rng = np.random.default_rng(0)
    slow, fast = rng.normal(1.3, 0.01, 150), rng.normal(1.0, 0.01, 3000)
    sequence = QuantileSequence(0.95, 0.05)
    sequence.update(np.concatenate([slow, fast]))
    now = sequence.interval()
    assert not now.exact and "changed while they were measured" in now.method
    assert now.low < np.quantile(fast, 0.95) < now.high and 0 < now.width < 0.02
    steady = QuantileSequence(0.95, 0.05)
    steady.update(fast)
    assert steady.interval().exact
