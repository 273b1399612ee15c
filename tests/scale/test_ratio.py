import math

import numpy as np
import pytest

from weigh.scale.quantile import QuantileSequence
from weigh.scale.ratio import RatioSequence, autocorrelation, fewest_above, paired_ratios


def test_the_median_ratio_is_ever_left_out_at_most_alpha_of_the_time() -> None:
    """Lognormal noise, with one round in ten slowed by up to 20 times on either side."""
    rng, paths, alpha, missed, widths = np.random.default_rng(1), 250, 0.1, 0, []
    for _ in range(paths):
        logs = 0.1 * rng.normal(size=300) + rng.choice([-1, 0, 0, 0, 0, 0, 0, 0, 0, 1], 300) * rng.uniform(0, 3, 300)
        missed += ever_missed(1.3 * np.exp(logs), 1.3, alpha)
        sequence = RatioSequence(alpha)
        sequence.update(1.3 * np.exp(logs))
        widths.append(sequence.interval().width)
    assert missed <= paths * (alpha + 3 * math.sqrt(alpha * (1 - alpha) / paths))
    assert np.median(widths) < 0.12


@pytest.mark.parametrize("coefficient", [0.5, 0.8])
def test_neighbours_that_resemble_each_other_do_not_count_as_evidence(coefficient: float) -> None:
    rng, paths, alpha, tempered, plain = np.random.default_rng(2), 200, 0.1, 0, 0
    for _ in range(paths):
        noise, logs = rng.normal(size=400), np.zeros(400)
        for t in range(1, 400):
            logs[t] = coefficient * logs[t - 1] + noise[t]
        tempered += ever_missed(np.exp(logs), 1.0, alpha)
        sequence = QuantileSequence(0.5, alpha)
        sequence.update(logs)
        plain += not sequence.interval().exact or not sequence.interval().contains(0.0)
    assert tempered <= paths * alpha
    assert plain > 2 * paths * alpha


def ever_missed(ratios: np.ndarray, truth: float, alpha: float) -> bool:
    sequence = RatioSequence(alpha)
    for part in np.array_split(ratios, 20):
        sequence.update(part)
        if not sequence.interval().contains(truth):
            return True
    return False


def test_a_slow_machine_cancels() -> None:
    rng = np.random.default_rng(2)
    machine = np.exp(np.cumsum(0.2 * rng.normal(size=200)))
    option, baseline = 2.0 * machine * rng.uniform(0.99, 1.01, 200), machine * rng.uniform(0.99, 1.01, 200)
    sequence = RatioSequence(0.05)
    sequence.update(paired_ratios(option, baseline))
    assert 1.99 < sequence.interval().low < 2.0 < sequence.interval().high < 2.01


def test_swapping_the_sides_inverts_the_interval() -> None:
    ratios = np.random.default_rng(3).lognormal(size=151)
    one, other = RatioSequence(0.05), RatioSequence(0.05)
    one.update(ratios)
    other.update(1 / ratios)
    assert one.interval().low == pytest.approx(1 / other.interval().high)
    assert one.interval().high == pytest.approx(1 / other.interval().low)
    assert one.interval().estimate == pytest.approx(np.median(ratios))


def test_few_rounds_say_nothing_and_more_say_more() -> None:
    rng, sequence = np.random.default_rng(7), RatioSequence(0.05)
    sequence.update(rng.lognormal(size=8))
    assert (sequence.interval().low, sequence.interval().high) == (0.0, math.inf)
    widths = []
    for _ in range(3):
        sequence.update(rng.lognormal(size=400))
        widths.append(sequence.interval().width)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.4


def test_equal_ratios_leave_one_number() -> None:
    """A clock that ticks coarsely: what equals the median speaks neither for more nor for less."""
    sequence = RatioSequence(0.05)
    sequence.update([1.0] * 30 + [1.5] * 30 + [1.0] * 30)
    now = sequence.interval()
    assert now.contains(1.0)
    assert not now.exact
    constant = RatioSequence(0.05)
    constant.update(np.full(60, 2.0))
    assert (constant.interval().low, constant.interval().high) == (2.0, 2.0)


def test_needed_rounds_grow_with_inflation_and_shrink_with_alpha() -> None:
    assert fewest_above(100, 0.05, 1.0) < fewest_above(100, 0.01, 1.0) < fewest_above(100, 0.01, 2.0) <= 100
    assert fewest_above(100, 0.01, math.inf) == 101
    assert fewest_above(100_000, 0.05, 1.0) < 50_000 + 4 * math.sqrt(100_000)


def test_times_are_positive_and_paired() -> None:
    with pytest.raises(ValueError, match=r"values\[1\] = 0\.0 is not positive"):
        RatioSequence(0.05).update([1.0, 0.0])
    with pytest.raises(ValueError, match=r"values\[0\] = -1\.0 is not positive"):
        paired_ratios([1.0], [-1.0])
    with pytest.raises(ValueError, match="2 times of the option and 1 of the baseline make no pairs"):
        paired_ratios([1.0, 2.0], [1.0])


def test_autocorrelation_of_known_series() -> None:
    rng = np.random.default_rng(4)
    noise, x = rng.normal(size=20_000), np.zeros(20_000)
    for t in range(1, 20_000):
        x[t] = 0.5 * x[t - 1] + noise[t]
    assert autocorrelation(noise) == pytest.approx(0.0, abs=0.03)
    assert autocorrelation(x) == pytest.approx(0.5, abs=0.03)
    assert autocorrelation(x, lag=2) == pytest.approx(0.25, abs=0.04)
    assert autocorrelation(np.ones(9)) == 0.0
    with pytest.raises(ValueError, match="lag = 3 of 4 values is not defined"):
        autocorrelation(np.arange(4), lag=3)
