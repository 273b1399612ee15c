import math
from collections.abc import Callable

import numpy as np
import pytest

from weigh.scale import mean as mean_module
from weigh.scale.interval import Floats, Interval
from weigh.scale.mean import MeanSequence, stakes

Draw = Callable[[np.random.Generator, int], Floats]

STREAMS: dict[str, tuple[Draw, float]] = {
    "rare": (lambda r, n: r.binomial(1, 0.05, n).astype(float), 0.05),
    "even": (lambda r, n: r.binomial(1, 0.5, n).astype(float), 0.5),
    "accuracy": (lambda r, n: r.binomial(1, 0.97, n).astype(float), 0.97),
    "skewed": (lambda r, n: r.beta(0.1, 1.0, n), 1 / 11),
    "paired": (lambda r, n: 0.5 + 0.5 * r.choice([-1.0, 0.0, 1.0], n, p=[0.01, 0.97, 0.02]), 0.505),
}


def slack(rate: float, paths: int) -> float:
    """Three standard errors above the promised rate: a right bound fails once in a thousand such tests."""
    return rate + 3 * math.sqrt(rate * (1 - rate) / paths)


def run(values: Floats, alpha: float = 0.05, **options: float) -> Interval:
    sequence = MeanSequence(alpha, **options)  # type: ignore[arg-type]
    sequence.update(values)
    return sequence.interval()


@pytest.mark.parametrize("name", STREAMS)
def test_the_mean_is_ever_left_out_at_most_alpha_of_the_time(name: str) -> None:
    draw, truth = STREAMS[name]
    rng, paths, alpha = np.random.default_rng(1), 150, 0.1
    last = [run(draw(rng, 300), alpha) for _ in range(paths)]
    below, above = sum(i.high < truth for i in last), sum(i.low > truth for i in last)
    assert below <= slack(alpha / 2, paths) * paths
    assert above <= slack(alpha / 2, paths) * paths


def test_without_replacement_the_mean_is_ever_left_out_at_most_alpha_of_the_time() -> None:
    rng, paths, alpha = np.random.default_rng(2), 150, 0.1
    population = np.sort(rng.beta(0.3, 0.6, 300))
    truth = population.mean()
    last = [run(rng.permutation(population)[:290], alpha, population=300) for _ in range(paths)]
    missed = sum(not i.contains(truth) for i in last)
    assert missed <= slack(alpha, paths) * paths
    assert np.median([i.width for i in last]) < 10 / 300 + 1e-9


def test_without_replacement_ends_at_the_mean_itself() -> None:
    population = np.random.default_rng(3).random(300)
    now = run(population, population=300)
    assert now.low == now.estimate == now.high
    assert now.estimate == pytest.approx(population.mean(), abs=1e-14)


def test_without_replacement_what_is_left_bounds_the_mean() -> None:
    values = np.random.default_rng(11).permutation(np.r_[np.ones(60), np.zeros(35)])
    now = run(values, alpha=1e-9, population=100)
    assert now.low >= 0.60 - 1e-12
    assert now.high <= 0.65 + 1e-12


def test_a_population_is_not_drawn_from_twice() -> None:
    sequence = MeanSequence(0.05, population=10)
    sequence.update(np.ones(8))
    with pytest.raises(ValueError, match="3 more values make 11, but population = 10"):
        sequence.update(np.ones(3))
    with pytest.raises(ValueError, match="no members"):
        MeanSequence(0.05, population=0)


@pytest.mark.parametrize("name", ["rare", "accuracy", "skewed", "paired"])
def test_low_variance_beats_the_interval_of_hoeffding_at_a_fixed_n(name: str) -> None:
    values = STREAMS[name][0](np.random.default_rng(4), 2000)
    assert run(values).width < 0.75 * 2 * math.sqrt(math.log(2 / 0.05) / (2 * 2000))


@pytest.mark.parametrize("name", STREAMS)
def test_width_is_at_most_twice_that_of_the_normal_interval_for_one_look(name: str) -> None:
    values = STREAMS[name][0](np.random.default_rng(5), 4000)
    assert run(values).width < 2 * 2 * 1.96 * values.std() / math.sqrt(4000)


@pytest.mark.parametrize("n", [100, 1000, 10_000])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_constant_stream_narrows_like_log_over_n(value: float, n: int) -> None:
    now = run(np.full(n, value))
    assert now.contains(value)
    assert math.log(20) / n < now.width < 2.5 * math.log(40) / n


def test_plain_wealth_of_the_same_bets_agrees() -> None:
    """The lower end against wealth computed from all values at once, with no grid, and caps that never tighten."""
    values = np.random.default_rng(6).random(300)
    fractions, weights = stakes()
    candidates = np.linspace(0.01, 0.6, 400)
    logs = np.cumsum(np.log1p(fractions[:, None, None] * (values[:, None] - candidates)), axis=1)
    wealth = np.einsum("b,bnc->nc", weights, np.exp(logs)).max(axis=0)
    plain = candidates[wealth >= 40].max()
    assert run(values).low == pytest.approx(plain, abs=0.025)


def test_the_grid_costs_less_than_three_percent_of_width(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, (draw, _) in STREAMS.items():
        values = draw(np.random.default_rng(7), 1500)
        coarse = run(values)
        with monkeypatch.context() as finer:
            finer.setattr(mean_module, "_CANDIDATES", 1000)
            fine = run(values)
        assert coarse.width < 1.03 * fine.width, name


def test_units_do_not_matter() -> None:
    values = np.random.default_rng(8).random(500)
    unit, moved = run(values), run(40 * values - 30, low=-30.0, high=10.0)
    for end in ("low", "high", "estimate"):
        assert getattr(moved, end) == pytest.approx(40 * getattr(unit, end) - 30, abs=1e-9)


def test_the_sides_mirror_each_other() -> None:
    values = np.random.default_rng(9).beta(0.2, 2.0, 500)
    one, other = run(values), run(1 - values)
    assert one.low == pytest.approx(1 - other.high, abs=1e-9)
    assert one.high == pytest.approx(1 - other.low, abs=1e-9)


def test_contradiction_leaves_one_point() -> None:
    now = run(np.r_[np.zeros(2000), np.ones(20_000)])
    assert now.width == 0
    assert now.low == now.estimate


def test_interval_says_what_it_rests_on() -> None:
    now = run(np.ones(3), low=-1.0, population=9)
    assert now.exact
    assert now.assumption.startswith("values lie in [-1, 1] and are drawn in random order, without replacement, from 9")
