import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weigh.scale.interval import Interval, Sequence, wilson
from weigh.scale.serial import BlockBootstrapMean, SerialMeanSequence

MAKERS: dict[str, Callable[[], Sequence]] = {
    "serial": lambda: SerialMeanSequence(0.1, 0.0, 1.0),
    "once": lambda: BlockBootstrapMean(0.1, 0.0, 1.0),
}
every_sequence = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
shares = st.lists(st.sampled_from([1 / 64, 0.25, 0.25, 0.5, 0.7, 1.0]), max_size=120)


def test_interval_knows_its_width_and_what_it_holds() -> None:
    interval = Interval(1.0, 3.0, 2.0, 9, 0.05, "m", True, "a")
    assert interval.width == 2.0
    assert interval.contains(1.0)
    assert interval.contains(3.0)
    assert not interval.contains(3.1)


@every_sequence
def test_before_data_the_interval_is_the_whole_range(make: Callable[[], Sequence]) -> None:
    sequence = make()
    sequence.update([])
    now = sequence.interval()
    assert now.low in (0.0, -math.inf)
    assert now.high in (1.0, math.inf)
    assert now.n == 0
    assert math.isnan(now.estimate)


@every_sequence
@settings(max_examples=25, deadline=None)
@given(values=shares, cuts=st.lists(st.integers(0, 120), max_size=6))
def test_cutting_values_into_calls_changes_nothing(
    make: Callable[[], Sequence], values: list[float], cuts: list[int]
) -> None:
    whole, parts, single = make(), make(), make()
    whole.update(values)
    for part in np.split(np.array(values), sorted(min(cut, len(values)) for cut in cuts)):
        parts.update(part)
    for value in values:
        single.update([value])
    assert repr(whole.interval()) == repr(parts.interval()) == repr(single.interval())


@every_sequence
@settings(max_examples=25, deadline=None)
@given(values=shares)
def test_intervals_are_nested_and_hold_their_estimate(make: Callable[[], Sequence], values: list[float]) -> None:
    sequence = make()
    before = sequence.interval()
    for value in values:
        sequence.update([value])
        now = sequence.interval()
        assert now.low <= now.high
        if now.exact:
            assert before.low <= now.low and now.high <= before.high
        assert now.contains(now.estimate) or now.n == 0
        before = now


@every_sequence
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_not_a_number_is_named_and_nothing_is_taken(make: Callable[[], Sequence], bad: float) -> None:
    sequence = make()
    with pytest.raises(ValueError, match=rf"values\[1\] = {bad!r} is not a finite number in \["):
        sequence.update([0.5, bad])
    assert sequence.interval().n == 0


@every_sequence
def test_out_of_bounds_names_value_and_bounds(make: Callable[[], Sequence]) -> None:
    with pytest.raises(ValueError, match=r"values\[2\] = 1\.25 is not a finite number in \[0, 1\]"):
        make().update([0.0, 1.0, 1.25])


@every_sequence
def test_only_one_number_a_block_is_read(make: Callable[[], Sequence]) -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 2\)"):
        make().update([[0.5, 0.5]])


@pytest.mark.parametrize("made", [SerialMeanSequence, BlockBootstrapMean])
@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_alpha_is_an_error_rate(alpha: float, made: Callable[[float, float, float], Sequence]) -> None:
    with pytest.raises(ValueError, match="error rate"):
        made(alpha, 0.0, 1.0)


@pytest.mark.parametrize("made", [SerialMeanSequence, BlockBootstrapMean])
@pytest.mark.parametrize("low, high", [(1.0, 1.0), (2.0, 1.0), (math.nan, 1.0)])
def test_bounds_are_a_range(low: float, high: float, made: Callable[[float, float, float], Sequence]) -> None:
    with pytest.raises(ValueError, match="range"):
        made(0.05, low, high)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
@pytest.mark.parametrize("count", [0, 1, 37, 100])
def test_shares_have_the_interval_of_statsmodels(count: int, alpha: float) -> None:
    from statsmodels.stats.proportion import proportion_confint

    truth = proportion_confint(count, 100, alpha, method="wilson")
    assert wilson(count, 100, alpha) == pytest.approx(truth, abs=1e-6)
