"""The race by itself: how often it errs, by simulation with known truth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from weigh.scale.gauge import Gauge, Limit
from weigh.scale.race import Race
from weigh.scale.tracks import Relative, Subject

HEADS = Gauge("heads", "mean", "higher")
SIZE = Gauge("size", "exact", "lower")
TIME = Gauge("time", "time", "lower")


def run(race: Race, draw: object, blocks: int) -> Race:
    for block in range(blocks):
        if race.settled():
            break
        race.add(block, {name: draw(name) for name in race.wanted()})  # type: ignore[operator]
        race.judge(block)
    return race


def test_a_violator_is_shipped_at_most_alpha_of_the_time() -> None:
    """The smaller options lie below the floor, one of them just; certifying either is the error."""
    rates, sizes = {"big": 0.9, "small": 0.79, "tiny": 0.7}, {"big": 3.0, "small": 2.0, "tiny": 1.0}
    shipped = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        race = Race(list(rates), "big", [HEADS, SIZE], [Limit("heads", ">=", 0.8)], "size", 0.1, 0.0)
        run(race, lambda name, rng=rng: {"heads": rng.random(250) < rates[name], "size": sizes[name]}, 12)
        shipped += race.feasible("small") or race.feasible("tiny")
    assert shipped <= 10


def test_the_best_is_lost_at_most_alpha_of_the_time_and_found_when_it_stands_out() -> None:
    rates = {"a": 0.5, "b": 0.5, "c": 0.62}
    found, lost = 0, 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        race = Race(list(rates), "a", [HEADS], [], "heads", 0.1, 0.02)
        run(race, lambda name, rng=rng: {"heads": rng.random(200) < rates[name]}, 15)
        found += race.live() == ["c"]
        lost += "c" not in race.live()
    assert lost <= 6
    assert found >= 54


def test_times_are_compared_by_paired_ratio() -> None:
    """A shared slow-down of every round changes nothing; a 10 % faster option is found."""
    rng = np.random.default_rng(0)
    race = Race(["old", "new"], "old", [TIME], [], "time", 0.05, 0.01)
    for block in range(200):
        round_ = np.exp(rng.normal(0, 1))
        noise = np.exp(rng.normal(0, 0.03, 2))
        race.add(block, {"old": {"time": round_ * noise[0]}, "new": {"time": 0.9 * round_ * noise[1]}})
        race.judge(block)
        if race.settled():
            break
    assert race.live() == ["new"] and block < 60
    assert race.advantage("new", "old").contains(1 - 0.9) or race.advantage("new", "old").contains(1 / 0.9 - 1)


def test_exact_measures_decide_at_once() -> None:
    race = Race(["old", "new"], "old", [SIZE, HEADS], [], "size", 0.05, 0.0)
    race.add(0, {"old": {"size": 2.0, "heads": [1]}, "new": {"size": 1.0, "heads": [0]}})
    race.judge(0)
    assert race.live() == ["new"] and race.settled()


def test_equal_exact_objectives_tie() -> None:
    race = Race(["old", "new"], "old", [SIZE], [], "size", 0.05, 0.0)
    race.add(0, {"old": {"size": 2.0}, "new": {"size": 2.0}})
    race.judge(0)
    assert race.live() == ["old", "new"] and race.settled() and race.equivalent(race.live())


def test_pairs_of_unequal_size_are_refused() -> None:
    race = Race(["old", "new"], "old", [HEADS], [], "heads", 0.05, 0.0)
    race.add(0, {"old": {"heads": [1, 0]}, "new": {"heads": [1]}})
    with pytest.raises(ValueError, match="pairs need as many"):
        race.judge(0)


def test_how_many_blocks_would_settle_is_about_right() -> None:
    """Told after 10 blocks: in the middle of many races, within a factor of three of what it takes."""
    ratios = []
    for seed in range(15):
        rng = np.random.default_rng(seed)
        race = Race(["a", "b"], "a", [HEADS], [], "heads", 0.05, 0.0)
        told = None
        for block in range(400):
            race.add(block, {"a": {"heads": rng.random(50) < 0.5}, "b": {"heads": rng.random(50) < 0.57}})
            race.judge(block)
            if block == 9:
                told = race.blocks_to_separate("a", "b")
            if race.settled():
                break
        if told is not None:
            ratios.append((10 + told) / (block + 1))
    assert len(ratios) >= 12 and 1 / 3 <= np.median(ratios) <= 3


def test_what_only_a_failed_option_excluded_comes_back() -> None:
    """a beats b, then fails: b may be the best again, and is measured on."""
    race = Race(["a", "b", "d"], "b", [HEADS], [Limit("heads", ">=", 0.5)], "heads", 0.05, 0.0)
    rng, rates = np.random.default_rng(0), {"a": 0.9, "b": 0.75, "d": 0.5}
    for block in range(10):
        race.add(block, {name: {"heads": rng.random(100) < rates[name]} for name in race.wanted()})
        race.judge(block)
    assert race.runners["b"].state == "dominated" and race.runners["b"].by == "a"
    race.fail("a", "timeout", 10)
    assert "b" in race.live() and "b" in race.wanted()
    for block in range(11, 20):
        race.add(block, {name: {"heads": rng.random(100) < rates[name]} for name in race.wanted()})
        race.judge(block)
    assert race.live() == ["b"], "pairs after a gap are told by their blocks"


def test_a_circle_of_faster_thans_never_leaves_nothing() -> None:
    """a beats b, b beats c and c beats a in two rounds of three each."""
    rng = np.random.default_rng(0)
    race = Race(["a", "b", "c"], "a", [TIME], [], "time", 0.05, 0.0)
    rounds = np.array([(1, 2, 3), (2, 3, 1), (3, 1, 2)])[rng.integers(3, size=300)]
    race.add(0, {name: {"time": rounds[:, place]} for place, name in enumerate("abc")})
    race.judge(0)
    assert len(race.live()) >= 1


def test_a_difference_within_epsilon_drops_nobody() -> None:
    race = Race(["old", "new"], "old", [SIZE], [], "size", 0.05, 0.05)
    race.add(0, {"old": {"size": 10.0}, "new": {"size": 9.999}})
    race.judge(0)
    assert race.live() == ["old", "new"] and race.settled() and race.equivalent(race.live())


def test_a_certified_option_is_not_measured_on_when_the_objective_is_exact() -> None:
    rng = np.random.default_rng(0)
    rates = {"big": 0.95, "small": 0.81}
    race = Race(list(rates), "big", [HEADS, SIZE], [Limit("heads", ">=", 0.8)], "size", 0.05, 0.0)
    run(race, lambda name: {"heads": rng.random(100) < rates[name], "size": {"big": 2.0, "small": 1.0}[name]}, 40)
    assert len(race.runners["big"].blocks) < len(race.runners["small"].blocks)


def test_without_a_baseline_nothing_relative_can_be_settled() -> None:
    race = Race(["old", "new"], "old", [HEADS], [Limit("heads", ">=", -0.1, "difference")], "heads", 0.05, 0.0)
    race.fail("old", "crashed", 0)
    assert race.settled() and race.without_baseline() and not race.feasible("new")


def test_a_series_is_heard_to_its_end_and_the_beaten_may_come_back() -> None:
    """a is cheap for 60 blocks and dear for the next 60: dropped at first, b is not at the end."""
    cost = Gauge("cost", "mean", "lower", serial=True)
    rng = np.random.default_rng(0)
    race = Race(["a", "b"], "a", [cost], [], "cost", 0.05, 0.0)
    states = []
    for block in range(120):
        a = 0.2 if block < 60 else 0.6
        race.add(block, {"a": {"cost": a + rng.normal(0, 0.02)}, "b": {"cost": 0.4 + rng.normal(0, 0.02)}})
        race.judge(block)
        states.append(race.runners["b"].state)
        assert race.wanted() == ["a", "b"] and not race.settled()
    assert states[50] == "dominated" and states[-1] == "live"


def test_one_track_serves_both_directions() -> None:
    rng = np.random.default_rng(0)
    race = Race(["a", "b"], "a", [TIME, HEADS], [], "time", 0.05, 0.0)
    for block in range(60):
        values = {name: {"time": rng.lognormal(), "heads": rng.random(5) < 0.5} for name in "ab"}
        race.add(block, values)
    for gauge in ("time", "heads"):
        there, back = (
            race.versus_baseline("b", gauge),
            race.tracks.interval(Subject("a", gauge, _how(gauge), "b"), 0.05),
        )
        flipped = (1 / back.high, 1 / back.low) if gauge == "time" else (-back.high, -back.low)
        assert (there.low, there.high) == pytest.approx(flipped)


def _how(gauge: str) -> Relative:
    return "ratio" if gauge == "time" else "difference"


@pytest.mark.parametrize("changes, why", [
    ({"options": ()}, "options are none"),
    ({"options": ("a", "b", "a")}, "each once"),
    ({"baseline": "z", "limits": (Limit("quality", ">=", -0.1, "difference"),)}, "the baseline 'z' is no option"),
    ({"limits": (Limit("speed", ">=", 0.1),)}, "there is no gauge 'speed': there are quality"),
    ({"limits": (Limit("quality", ">=", math.nan),)}, "bounds nothing"),
    ({"objective": "speed"}, "there is no gauge 'speed'"),
    ({"alpha": 1.0}, "alpha = 1.0 is not an error rate"),
    ({"epsilon": -1.0}, "epsilon = -1.0"),
])  # fmt: skip
def test_what_cannot_be_judged_is_refused(changes: dict[str, Any], why: str) -> None:
    asked: dict[str, Any] = {
        "options": ("a", "b"), "baseline": "a", "gauges": [Gauge("quality", "mean", "higher")], "limits": (),
        "objective": "quality", "alpha": 0.05, "epsilon": 0.0,
    }  # fmt: skip
    Race(**asked)
    with pytest.raises(ValueError, match=why):
        Race(**(asked | changes))


@pytest.mark.parametrize("value", [math.nan, math.inf, 7.0, -0.5])
def test_values_outside_a_range_are_named(value: float) -> None:
    race = Race(("a", "b"), "a", [Gauge("quality", "mean", "higher")], (), "quality", 0.05, 0.0)
    race.add(0, {"a": {"quality": [0.5, 0.5]}, "b": {"quality": [0.5, value]}})
    with pytest.raises(ValueError, match=r"values\[1\] = .* is not a finite number in \[0, 1\]"):
        race.level("b", "quality")


def test_a_block_counts_once() -> None:
    race = Race(("a", "b"), "a", [Gauge("quality", "mean", "higher")], (), "quality", 0.05, 0.0)
    race.add(3, {"a": {"quality": [0.5]}})
    with pytest.raises(ValueError, match="a has values up to block 3"):
        race.add(3, {"b": {"quality": [0.5]}, "a": {"quality": [0.5]}})
    assert not race.runners["b"].blocks
