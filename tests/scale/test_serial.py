import math

import numpy as np
import pytest

from weigh.scale.interval import Floats, Interval
from weigh.scale.serial import (
    BlockBootstrapMean,
    SerialMeanSequence,
    _running_autocovariances,
    block_bootstrap_interval,
    running_bounds,
)


def autoregressive(rng: np.random.Generator, paths: int, n: int, coefficient: float) -> Floats:
    noise = rng.normal(size=(paths, n + 50))
    x = np.zeros_like(noise)
    for t in range(1, n + 50):
        x[:, t] = coefficient * x[:, t - 1] + noise[:, t]
    return x[:, 50:]


def run(values: Floats, alpha: float = 0.05, low: float = -math.inf, high: float = math.inf) -> Interval:
    sequence = SerialMeanSequence(alpha, low, high)
    sequence.update(values)
    return sequence.interval()


@pytest.mark.parametrize("coefficient", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("n", [12, 60, 150])
def test_the_mean_is_ever_left_out_at_most_alpha_of_the_time(coefficient: float, n: int) -> None:
    paths, alpha = 600, 0.05
    series = autoregressive(np.random.default_rng(1), paths, n, coefficient)
    missed = sum(not run(x, alpha).contains(0.0) for x in series)
    assert missed <= paths * (alpha + 3 * math.sqrt(alpha * (1 - alpha) / paths))


def test_skewed_values_leave_out_the_mean_about_as_often_as_promised() -> None:
    """Log-normal blocks; without the term for skew it is 0.13."""
    paths = np.random.default_rng(9).lognormal(0.0, 1.0, (600, 104))
    missed = sum(
        bool((np.abs(m - math.exp(0.5)) > h)[7:].any()) for m, h in (running_bounds(x, 0.05, 0.05) for x in paths)
    )
    assert missed <= 600 * (0.06 + 3 * math.sqrt(0.06 * 0.94 / 600))


@pytest.mark.parametrize("coefficient, n, limit", [(0.0, 24, 5.8), (0.0, 104, 4.6), (0.5, 52, 6.3), (0.5, 104, 4.6)])
def test_median_half_width_in_standard_errors(coefficient: float, n: int, limit: float) -> None:
    series = autoregressive(np.random.default_rng(2), 200, n, coefficient)
    halves = [running_bounds(x, 0.05, 0.0)[1][-1] for x in series]
    assert 3.0 < np.median(halves) * math.sqrt(n) * (1 - coefficient) < limit


def test_many_independent_values_give_the_asymptotic_confidence_sequence() -> None:
    n, alpha = 200_000, 0.05
    values = np.random.default_rng(3).normal(size=n)
    rho2 = (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / 15
    theirs = math.sqrt(2 * (n * rho2 + 1) / (n**2 * rho2) * math.log(math.sqrt(n * rho2 + 1) / alpha)) * values.std()
    assert running_bounds(values, alpha, 0.0)[1][-1] == pytest.approx(theirs, rel=0.02)


def test_autocovariances_of_every_beginning() -> None:
    x = np.random.default_rng(4).normal(size=40)
    means, covariances = _running_autocovariances(x, 5)
    for n in (1, 2, 5, 17, 40):
        centred = x[:n] - x[:n].mean()
        expected = [centred[lag:] @ centred[: n - lag] / n if lag < n else 0.0 for lag in range(5)]
        assert means[n - 1] == pytest.approx(x[:n].mean())
        assert covariances[:, n - 1] == pytest.approx(expected, abs=1e-12)


def test_nothing_is_said_before_the_start() -> None:
    values = np.random.default_rng(5).normal(size=60)
    now = run(values[:7], 0.05, -9.0, 9.0)
    assert (now.low, now.high, now.n) == (-9.0, 9.0, 7)
    assert run(values, 0.05, -9.0, 9.0).width < 2.0


def test_identical_pairs_narrow_but_never_to_nothing() -> None:
    widths = [run(np.zeros(n), 0.05, -1.0, 1.0).width for n in (8, 24, 52, 104, 520)]
    assert widths[0] == 2.0
    assert widths[2] < 0.02
    assert sorted(widths, reverse=True) == widths
    assert widths[-1] > 0
    assert run(np.zeros(52)).width == math.inf


def test_resolution_sets_what_an_unseen_block_may_do() -> None:
    fine, coarse = SerialMeanSequence(0.05, -1, 1, resolution=0.01), SerialMeanSequence(0.05, -1, 1, resolution=0.1)
    fine.update(np.zeros(52))
    coarse.update(np.zeros(52))
    assert coarse.interval().width == pytest.approx(10 * fine.interval().width)


def test_units_do_not_matter() -> None:
    values = autoregressive(np.random.default_rng(6), 1, 80, 0.4)[0]
    plain, moved = run(values), run(1000 * values + 5)
    assert moved.low == pytest.approx(1000 * plain.low + 5)
    assert moved.high == pytest.approx(1000 * plain.high + 5)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="start = 1 blocks show no variance"):
        SerialMeanSequence(0.05, 0, 1, start=1)
    with pytest.raises(ValueError, match="resolution = -1 is not a size"):
        SerialMeanSequence(0.05, 0, 1, resolution=-1)
    assert not run(np.arange(20.0)).exact


@pytest.mark.parametrize("coefficient, limit", [(0.0, 0.05), (0.5, 0.085)])
def test_bootstrap_leaves_the_mean_out_as_rarely_as_its_text_says(coefficient: float, limit: float) -> None:
    paths = 400
    series = autoregressive(np.random.default_rng(7), paths, 52, coefficient)
    intervals = [block_bootstrap_interval(x, 0.05, block=6, draws=400, seed=i) for i, x in enumerate(series)]
    missed = sum(not i.contains(0.0) for i in intervals)
    assert missed <= paths * (limit + 3 * math.sqrt(limit * (1 - limit) / paths))
    assert np.median([i.width for i in intervals]) < 6 / math.sqrt(52) / (1 - coefficient)


def test_bootstrap_repeats_with_its_seed_and_says_so() -> None:
    values = np.random.default_rng(8).normal(size=60)
    one, same = (block_bootstrap_interval(values, 0.1, 5, 500, seed=3) for _ in range(2))
    assert one == same
    assert one.method.endswith("blocks of 5, 500 draws, seed 3")
    assert not one.exact
    assert block_bootstrap_interval(np.ones(30), 0.1, 3, 100, 0).width == 0


def test_bootstrap_needs_five_blocks_and_enough_draws() -> None:
    with pytest.raises(ValueError, match="19 values do not hold five blocks of 4"):
        block_bootstrap_interval(np.arange(19), 0.1, 4)
    with pytest.raises(ValueError, match="give at least 200"):
        block_bootstrap_interval(np.arange(40), 0.01, 4, draws=100)


def test_one_look_leaves_out_the_mean_about_as_often_as_promised() -> None:
    """Gaussian AR(1) series of 20, as many as a replay keeps for the confirmation."""
    for coefficient, most in ((0.0, 0.09), (0.3, 0.11)):
        missed = 0
        for x in autoregressive(np.random.default_rng(8), 300, 20, coefficient):
            sequence = BlockBootstrapMean(0.05, -math.inf, math.inf)
            sequence.update(x)
            missed += not sequence.interval().contains(0.0)
        assert missed / 300 <= most
    few = BlockBootstrapMean(0.05, -1.0, 1.0)
    few.update(np.zeros(9))
    assert (few.interval().low, few.interval().high) == (-1.0, 1.0)
