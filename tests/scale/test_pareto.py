from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weigh.scale.pareto import certainly_dominated, pareto_front

whole = st.integers(0, 4).map(float)
points = st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(whole, whole), max_size=8)
intervals = st.tuples(whole, whole).map(lambda pair: (min(pair), max(pair)))
boxes = st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(intervals, intervals), max_size=8)
BETTER: tuple[Literal["lower"], Literal["higher"]] = ("lower", "higher")


@given(points)
def test_front_against_brute_force(options: dict[str, tuple[float, float]]) -> None:
    front = pareto_front(options, BETTER)
    for name, (cost, gain) in options.items():
        beaten = any(c <= cost and g >= gain and (c, g) != (cost, gain) for c, g in options.values())
        assert (name in front) == (not beaten)


@given(boxes)
def test_certain_means_at_every_corner(options: dict[str, tuple[tuple[float, float], tuple[float, float]]]) -> None:
    """Each dominated option is off the front at its best corner against the worst corner of the others."""
    dominated = certainly_dominated(options, BETTER)
    for name, ((cost, _), (_, gain)) in options.items():
        worst = {other: (c[1], g[0]) for other, (c, g) in options.items() if other != name}
        front = pareto_front({**worst, name: (cost, gain)}, BETTER)
        assert (name in dominated) == (name not in front)


def test_touching_intervals_are_not_worse_unless_one_measure_is() -> None:
    assert certainly_dominated({"a": ((1, 2),), "b": ((2, 3),)}, ("lower",)) == set()
    assert certainly_dominated({"a": ((1, 2), (5, 5)), "b": ((3, 4), (5, 5))}, ("lower", "lower")) == {"b"}


def test_every_option_has_every_measure() -> None:
    with pytest.raises(ValueError, match="'b' has 1 measures, but 2 directions are given"):
        pareto_front({"a": (1.0, 2.0), "b": (1.0,)}, BETTER)
    assert pareto_front({}, BETTER) == set()
