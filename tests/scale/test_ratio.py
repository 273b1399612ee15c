import math

import numpy as np
import pytest

from weigh.scale.ratio import RatioSequence, autocorrelation, paired_ratios


@pytest.mark.parametrize("batch", [1, 3])
def test_the_median_ratio_is_ever_left_out_at_most_alpha_of_the_time(batch: int) -> None:
    """Lognormal noise, with one round in ten slowed by up to 20 times on either side."""
    rng, paths, alpha, missed, widths = np.random.default_rng(1), 250, 0.1, 0, []
    for _ in range(paths):
        logs = 0.1 * rng.normal(size=300) + rng.choice([-1, 0, 0, 0, 0, 0, 0, 0, 0, 1], 300) * rng.uniform(0, 3, 300)
        sequence = RatioSequence(alpha, batch)
        sequence.update(1.3 * np.exp(logs))
        missed += not sequence.interval().contains(1.3)
        widths.append(sequence.interval().width)
    assert missed <= paths * (alpha + 3 * math.sqrt(alpha * (1 - alpha) / paths))
    assert np.median(widths) < 0.12


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


def test_rounds_that_fill_no_batch_wait() -> None:
    sequence = RatioSequence(0.05, batch=5)
    sequence.update(np.full(4, 2.0))
    assert math.isnan(sequence.interval().estimate)
    assert sequence.interval().n == 0
    sequence.update([9.0])
    assert sequence.interval().estimate == pytest.approx(2.0)
    assert sequence.interval().assumption.startswith("medians of 5 consecutive ratios")


def test_an_even_batch_has_no_middle() -> None:
    for batch in (0, 2, -1):
        with pytest.raises(ValueError, match=f"batch = {batch} has no middle round"):
            RatioSequence(0.05, batch)


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
