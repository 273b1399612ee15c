import json

import numpy as np
import pytest

from weigh.scale.dependence import RunningInflation, inflation


def chain(rng: np.random.Generator, stays: float, n: int) -> np.ndarray:
    """A 0/1 Markov chain: lag-1 correlation 2 * stays - 1, so that variances inflate by stays / (1 - stays)."""
    return (np.cumsum(rng.random(n) > stays) + rng.integers(2)) % 2


@pytest.mark.parametrize(("stays", "truth"), [(0.5, 1.0), (0.75, 3.0), (0.9, 9.0)])
def test_it_is_the_long_run_variance_over_the_variance_and_rather_too_large(stays: float, truth: float) -> None:
    rng = np.random.default_rng(1)
    for n, share, least in ((200, 0.7, 0.3), (5000, 0.9, 0.8)):
        found = np.array([inflation(chain(rng, stays, n)) for _ in range(100)])
        assert np.mean(found >= truth) >= share
        assert np.median(found) < truth * (1.15 + 32 / n**0.5)
        assert found.min() > least * truth


def test_what_lasts_long_but_is_weak_is_found() -> None:
    """Shifts of a third of a standard deviation that last 50 values inflate by more than AR(1) at lag 1 shows."""
    rng, n = np.random.default_rng(2), 10_000
    level = np.repeat(rng.choice([-0.33, 0.33], n // 50), 50)
    series = level + rng.normal(size=n) > 0
    centred = series - series.mean()
    lag_1 = centred[1:] @ centred[:-1] / (centred @ centred)
    assert (1 + lag_1) / (1 - lag_1) < 1.4
    assert 3 < inflation(series) < 9


def test_independent_values_say_as_much_as_there_are() -> None:
    rng = np.random.default_rng(3)
    for n, most in ((20, 4.0), (100, 1.8), (10_000, 1.2)):
        assert np.median([inflation(rng.random(n) > 0.5) for _ in range(50)]) < most


def test_few_or_equal_values_are_trusted_little() -> None:
    values = [inflation(np.ones(n)) for n in (0, 1, 2, 10, 100, 10_000)]
    assert values == sorted(values, reverse=True)
    assert values[0] == values[1] == np.inf
    assert values[2] > 19
    assert 1.0 < values[-1] < 1.1


def test_the_unit_does_not_matter() -> None:
    series = np.cumsum(np.random.default_rng(4).normal(size=300))
    assert inflation(1e6 + 1e3 * series) == pytest.approx(inflation(series), rel=1e-6)


def test_how_values_are_cut_does_not_matter_and_state_stays_small() -> None:
    rng = np.random.default_rng(5)
    series, running = chain(rng, 0.8, 5000), RunningInflation()
    for part in np.split(series, np.sort(rng.integers(0, 5000, 400))):
        running.update(part)
    assert running.n == 5000
    assert running.value == pytest.approx(inflation(series))
    assert len(running.state()) <= 14
    again = RunningInflation.of(json.loads(json.dumps(running.state())))
    more = chain(rng, 0.8, 77)
    running.update(more)
    again.update(more)
    assert running.value == again.value == pytest.approx(inflation(np.concatenate([series, more])))


def test_what_two_workers_saw_is_joined() -> None:
    rng = np.random.default_rng(6)
    parts, joined = [chain(rng, 0.8, n) for n in (1024, 2048, 512)], RunningInflation()
    for part in parts:
        one = RunningInflation()
        one.update(part)
        joined.merge(one)
    assert joined.n == sum(part.size for part in parts)
    assert joined.value == pytest.approx(inflation(np.concatenate(parts)), rel=0.2)
    before = joined.value
    joined.merge(RunningInflation())
    assert joined.value == before


def test_what_is_no_number_is_refused() -> None:
    running = RunningInflation()
    with pytest.raises(ValueError, match=r"values\[1\] = nan"):
        running.update([1.0, float("nan")])
    assert running.n == 0
