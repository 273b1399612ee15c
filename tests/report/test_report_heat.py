"""Heat maps, lines that settle, and the pair of measures of the trade-off."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import story

from weigh.choice import Curves, Line, Measure
from weigh.ledger import Ledger
from weigh.report.canvas import DASHES, SERIES, Key, drawing
from weigh.report.curves import picture
from weigh.report.front import _pair, front
from weigh.report.heat import heat
from weigh.report.history import _span, _trace
from weigh.report.lines import Axes, Trace, lines, y_range
from weigh.report.steps import cells, reach, steps
from weigh.scale.interval import Interval


def trace(name: str, *y: float | None) -> Trace:
    return Trace(name, "chosen", tuple(map(float, range(len(y)))), y)


def test_many_lines_become_a_heat_map_and_the_left_out_are_counted():
    many = [Line(name=f"feature {i}", x=(1.0, 2.0, 3.0), y=(0.0, float(i), None)) for i in range(35)]
    with drawing():
        made = picture("k", Curves(title="t", x="x", y="y", lines=tuple(many)))
    assert "feature 29" in made.svg and "feature 30" not in made.svg and "feature 29" in made.wide
    assert "The first 30 of 35 lines are drawn." in made.note and "Empty: not known." in made.note


def test_a_cell_is_in_its_row_and_its_column():
    places, rows, merged = cells([trace("a", 1.0, None, 3.0), Trace("b", "s1", (2.0, 1.0), (5.0, 4.0))])
    assert places == [0.0, 1.0, 2.0] and rows == [[1.0, None, 3.0], [None, 4.0, 5.0]] and merged == 1
    with drawing():
        made = heat("k", "t", [trace("a", 0.1, 7.0), trace("b", 0.2, 0.3)], Axes("x", "y", level=1.0))
    x = {text: float(re.search(rf'x="([\d.]+)"[^>]*>{text}<', made.wide)[1]) for text in ("0.10", "7.00", "0.30")}
    assert x["0.10"] < x["7.00"] == x["0.30"]


def test_cells_at_or_above_the_level_are_outlined_and_told():
    def outlines(level: float | None) -> int:
        with drawing():
            made = heat("k", "t", [trace("a", 0.5, 2.0, 3.0, 0.5, 1.0)], Axes("x", "y", level=level))
        return (
            made.svg.count(" z\n") if level is None else len(re.findall(r"fill: none; stroke: var\(--ink\)", made.svg))
        )

    assert outlines(1.0) == 1 and outlines(9.0) == 0
    with drawing():
        made = heat("k", "t", [trace("a", 0.5, 2.0, 1.0)], Axes("x", "y", level=1.0))
    assert "a: from 0.5 to 1, at or above 1 in 2 of 3" in made.svg and "Outlined: at or above 1." in made.note


def test_thousands_of_moments_are_merged():
    long = tuple(float(i) for i in range(1000))
    places, rows, merged = cells([Trace("a", "s1", long, long)])
    assert len(places) == len(rows[0]) <= 120 and merged == 9 and rows[0][0] == 4.0
    with drawing():
        assert "mean of up to 9 values" in heat("k", "t", [Trace("a", "s1", long, long)], Axes("x", "y")).note


def test_a_line_far_off_does_not_set_the_steps():
    near = [trace(f"n{i}", 0.16, 0.2 + i / 1000, None, 0.18) for i in range(8)]
    values, out = reach([*near, trace("far", 0.9, 0.9, 0.8, 0.7)])
    assert out == ["far"] and max(values) < 0.21
    assert reach(near)[1] == []
    assert max(steps(values, None).edges) < 0.21


@pytest.mark.parametrize(
    "values,level",
    [([0.2, 0.9, 599.0], 1.0), ([-3.0, 5.0], None), ([3.0, 3.0], None), ([-2.0, 2.0], -0.5), ([0.0], 1.0)],
)
def test_steps_part_values_and_colours_tell_the_sides(values: list[float], level: float | None):
    made = steps(values, level)
    assert list(made.edges) == sorted(set(made.edges))
    shades = [made.shade(step) for step in range(len(made.edges) + 1)]
    assert len(set(shades)) == len(shades) and all(0 < strength <= 1 for _, strength in shades)
    pivot = made.pivot
    assert pivot == (level if level is not None else 0.0 if min(values) < 0 < max(values) else None)
    for value in values:
        warm = made.shade(made.of(value))[0] == "violates"
        assert warm == (pivot is not None and value >= pivot)


def settling(name: str, half: float) -> Trace:
    x = tuple(map(float, range(1, 21)))
    return Trace(name, "s1", x, (1.0,) * 20, tuple(1 - half / i for i in x), tuple(1 + half / i for i in x))


def test_one_wide_band_does_not_flatten_lines_that_settled():
    axes = Axes("x", "y", settles=True)
    low, high, scale = y_range([settling(str(i), 1.0) for i in range(4)] + [settling("wide", 500.0)], axes)
    assert scale == "linear" and 0.5 < low < 0.95 and 1.05 < high < 1.5


def test_many_bands_become_bars_on_the_right():
    few, many = [settling(str(i), 1.0) for i in range(3)], [settling(str(i), 1.0) for i in range(4)]
    with drawing():
        notes = [lines("k", "t", them, Axes("x", "y", settles=True)).note for them in (few, many)]
    assert notes == ["", "Bars on the right: the last intervals."]


def test_a_far_bound_makes_the_axis_logarithmic_for_times_only():
    from weigh.report.forest import Bound

    near = [trace("a", 0.01, 0.02)]
    axes = Axes("x", "y", bound=Bound("<=", 2.0))
    assert y_range(near, axes)[2] == "linear"
    low, high, scale = y_range(near, Axes("x", "y", bound=Bound("<=", 2.0), ratios=True))
    assert scale == "log" and 0 < low <= 0.01 and high >= 2.0


def test_a_band_as_wide_as_everything_that_could_be_is_not_drawn():
    cost = Measure(name="cost", unit="", better="lower", kind="mean", meaning="m", low=0.0, high=10.0)

    def interval(low: float, high: float) -> Interval:
        return Interval(low, high, 0.2, 5, 0.05, "m", True, "a")

    points = [(1, interval(0.0, 10.0)), (2, interval(0.0, 0.4))]
    assert _trace("a", "s1", points, False, _span(cost, False)).high == (None, 0.4)
    assert _trace("a", "s1", points, False, None).high == (10.0, 0.4)
    assert _span(cost, True) == (-10.0, 10.0)


def raced(folder: Path, objective: str, cost: str, require: tuple[str, ...]):
    ledger = Ledger(folder / f"{objective}-{cost}.db")
    asked = story.lock(["a", "b", "c"], require, objective=objective, cost=cost)
    # better in size is worse in accuracy; latency goes with size
    truths = {"a": (4.0, 0.95, 60.0), "b": (3.0, 0.9, 40.0), "c": (2.0, 0.85, 20.0)}
    made = story.race(ledger, asked, {name: story.model_values(truth) for name, truth in truths.items()})
    return asked, made


@pytest.mark.parametrize(
    "objective,cost,require,expected",
    [
        ("accuracy", "size", (), {"accuracy", "size"}),
        ("size", "size", ("accuracy >= 0.5",), {"accuracy", "size"}),
        ("latency", "size", ("accuracy >= 0.5",), {"accuracy", "latency"}),  # size goes with latency: no trade-off
    ],
)
def test_the_trade_off_is_one(tmp_path: Path, objective: str, cost: str, require: tuple[str, ...], expected: set[str]):
    asked, made = raced(tmp_path, objective, cost, require)
    pair = _pair(asked, made)
    assert pair is not None and {measure.name for measure in pair} == expected


def test_where_no_option_meets_the_bound_the_front_says_so(tmp_path: Path):
    asked, made = raced(tmp_path, "accuracy", "size", ("size <= 1",))
    assert made.verdict == "none"
    with drawing():
        drawn = front("k", asked, made)
    assert drawn is not None and "each of which breaks a constraint" in drawn.note
    assert {key.mark for key in drawn.legend} == {"cross"}
    assert not any("breaks" in key.label for key in drawn.legend)


def test_a_key_is_dashed_as_its_line_is():
    for shade in (*SERIES, "s0"):
        svg = Key(shade, "a").svg
        assert f"var(--{shade})" in svg and ("stroke-dasharray" in svg) == (DASHES[shade] != "-")
    assert len({Key("s1", "a", mark).svg for mark in ("line", "dot", "ring", "cross")}) == 4


def test_the_same_map_is_the_same_bytes():
    rng = np.random.default_rng(0)
    many = [trace(str(i), *rng.normal(0, 1, 6).tolist()) for i in range(9)]
    with drawing():
        first, second = (heat("k", "t", many, Axes("x", "y", level=0.5)) for _ in range(2))
    assert first == second
