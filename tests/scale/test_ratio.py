import math

import numpy as np
import pytest

from weigh.scale.ratio import median_ratio, paired_ratios


def test_a_slow_machine_cancels() -> None:
    rng = np.random.default_rng(2)
    machine = np.exp(np.cumsum(0.2 * rng.normal(size=200)))
    option, baseline = 2.0 * machine * rng.uniform(0.99, 1.01, 200), machine * rng.uniform(0.99, 1.01, 200)
    now = median_ratio(option, baseline, 0.05)
    assert 1.99 < now.low < 2.0 < now.high < 2.01


def test_swapping_the_sides_inverts_the_interval() -> None:
    x, y = np.random.default_rng(3).lognormal(size=(2, 151))
    one, other = median_ratio(x, y, 0.05), median_ratio(y, x, 0.05)
    assert one.low == pytest.approx(1 / other.high, rel=1e-6)
    assert one.high == pytest.approx(1 / other.low, rel=1e-6)
    assert one.estimate == pytest.approx(np.median(x / y))


def test_few_rounds_say_nothing_and_more_say_more() -> None:
    rng = np.random.default_rng(7)
    x, y = rng.lognormal(size=(2, 1208))
    few = median_ratio(x[:8], y[:8], 0.05)
    assert (few.low, few.high) == (0.0, math.inf)
    widths = [median_ratio(x[:n], y[:n], 0.05).width for n in (408, 808, 1208)]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.5


def test_equal_ratios_leave_one_number() -> None:
    """A clock that ticks coarsely: what equals the median speaks neither for more nor for less."""
    now = median_ratio([1.0] * 30 + [1.5] * 30 + [1.0] * 30, np.ones(90), 0.05)
    assert now.contains(1.0)
    assert not now.exact
    constant = median_ratio(np.full(60, 2.0), np.ones(60), 0.05)
    assert (constant.low, constant.high) == pytest.approx((2.0, 2.0))


def test_times_are_positive_and_paired() -> None:
    with pytest.raises(ValueError, match=r"values\[1\] = 0\.0 is not positive"):
        median_ratio([1.0, 0.0], [1.0, 1.0], 0.05)
    with pytest.raises(ValueError, match=r"values\[0\] = -1\.0 is not positive"):
        paired_ratios([1.0], [-1.0])
    with pytest.raises(ValueError, match="2 times of the option and 1 of the baseline make no pairs"):
        paired_ratios([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="error rate"):
        median_ratio([1.0], [1.0], 5.0)
