"""Halving by itself: how often it errs, by simulation with known truth; and what rungs do to what a race says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np
import pytest

from weigh.scale.gauge import Gauge, Limit
from weigh.scale.halving import Halving, Rung

RIGHT, SIZE = Gauge("right", "mean", "higher"), Gauge("size", "exact", "lower")
FLOOR = Limit("right", ">=", 0.8)
Curves = Mapping[str, Sequence[float]]
"""Of each option the true share of rows told right, a rung."""


def halving(curves: Curves, rungs: Sequence[Rung], **other: object) -> Halving:
    asked = {"limits": [], "objective": "right", "alpha": 0.1, "epsilon": 0.0, **other}
    return Halving(list(curves), next(iter(curves)), [RIGHT, SIZE], rungs=rungs, **asked)  # type: ignore[arg-type]


def run(race: Halving, curves: Curves, seed: int = 0, rows: int = 100, until: int = 1000) -> Halving:
    """Half of what makes a row hard is the same for all options. An option's size is the length of its name."""
    rng = np.random.default_rng(seed)
    while not race.settled():
        block, names = race.next()
        if block >= until:
            break
        shared = rng.normal(size=rows)
        values = {}
        for name in names:
            ease = (shared + rng.normal(size=rows)) / np.sqrt(2)
            values[name] = {
                "right": ease < NormalDist().inv_cdf(curves[name][race.rung]), "size": float(len(name))
            }  # fmt: skip
        race.add(block, values)
        race.judge(block)
    return race


def rising(**ends: float) -> dict[str, list[float]]:
    """Curves that never cross."""
    return {name: [end - 0.2, end - 0.06, end] for name, end in ends.items()}


THREE = [Rung(4, "1 epoch"), Rung(4, "3 epochs"), Rung(4, "9 epochs")]


def test_the_best_on_every_rung_is_lost_at_most_alpha_of_the_time_for_a_part_of_the_training() -> None:
    curves = rising(a=0.9, b=0.89, c=0.87, d=0.84, e=0.8, f=0.75, g=0.7, h=0.6)
    lost, spent = 0, []
    for seed in range(60):
        race = run(halving(curves, THREE), curves, seed)
        lost += "a" not in race.live()
        reached = [sum(block in runner.blocks for block in (0, 4, 8)) for runner in race.runners.values()]
        spent.append(sum((1, 3, 9)[count - 1] for count in reached) / (9 * len(curves)))
    assert lost <= 6
    assert np.mean(spent) < 0.6


def test_options_of_equal_worth_end_as_a_tie() -> None:
    curves = rising(a=0.9, b=0.9, c=0.9)
    apart = sum(len(run(halving(curves, THREE), curves, seed).live()) < 3 for seed in range(60))
    assert apart <= 6


def test_values_of_less_trained_models_are_not_pooled_with_later_ones() -> None:
    curves = rising(a=0.9, b=0.9)
    race = run(halving(curves, THREE), curves)
    assert race.runners["a"].blocks == list(range(12)) and len(race.runners["a"].values["right"]) == 4
    level = race.level("a", "right")
    assert level.n == 400 and level.estimate == pytest.approx(np.mean(race.runners["a"].values["right"]))
    assert race.advantage("a", "b").n == 400


def test_an_early_rung_drops_whom_it_certifies_to_be_worse_by_more_than_its_slack() -> None:
    curves = {"a": [0.8, 0.9], "b": [0.7, 0.9], "c": [0.5, 0.9]}
    race = run(halving(curves, [Rung(20, slack=0.2), Rung(4)]), curves)
    assert race.live() == ["a", "b"]
    gone = race.runners["c"]
    assert (gone.state, gone.by, gone.reason) == ("dominated", "a", "at rung 1 of 2")
    assert race.advantage("a", "c").low > 0.2 and race.overtaken() == ["c"]
    assert race.advantage("a", "c").n == 100 * len(gone.blocks), "compared where both were last measured"


def test_who_catches_up_is_lost_unless_the_slack_allows_for_it() -> None:
    """The assumption broken: the best is last at first."""
    curves = {"sprinter": [0.85, 0.86], "stayer": [0.7, 0.95]}
    strict = run(halving(curves, [Rung(10), Rung(10)]), curves)
    assert strict.live() == ["sprinter"] and strict.overtaken() == ["stayer"]
    lenient = run(halving(curves, [Rung(10, slack=0.2), Rung(10)]), curves)
    assert lenient.live() == ["stayer"] and not lenient.overtaken()


def test_at_most_as_many_go_on_as_are_kept_and_those_left_out_are_named() -> None:
    curves = rising(a=0.9, b=0.9, c=0.9, d=0.9, e=0.5)
    race = run(halving(curves, [Rung(2, "1 epoch", keep=2), Rung(2), Rung(2)]), curves)
    left = race.uncertified()
    assert len(race.live()) == 2 and len(left) == 2 and set(left) < set("abcd") and "e" in race.overtaken()
    assert race.runners[left[0]].reason == "not told apart when at most 2 went on from rung 1 of 3 (1 epoch)"
    assert race.runners[left[0]].block == 1


def test_a_floor_is_judged_on_the_last_rung_and_a_size_on_the_first() -> None:
    curves = {"a": [0.5, 0.95], "bb": [0.5, 0.95], "huge": [0.5, 0.95]}
    race = halving(curves, [Rung(4), Rung(8)], limits=[FLOOR, Limit("size", "<=", 2)])
    run(race, curves, until=4)
    assert race.runners["huge"].state == "violates" and race.runners["huge"].block == 0
    assert race.live() == ["a", "bb"] and not race.feasible("a") and race.limit_interval("a", FLOOR).low == 0.0
    run(race, curves)
    assert race.feasible("a") and race.live() == ["a", "bb"]


def test_whom_a_violator_had_beaten_comes_back() -> None:
    """The sprinter beats the stayer on the first rung, and breaks the floor on the last."""
    curves = {"sprinter": [0.9, 0.5], "stayer": [0.6, 0.95]}
    race = halving(curves, [Rung(4), Rung(12)], limits=[FLOOR])
    run(race, curves, until=4)
    assert race.live() == ["sprinter"] and race.wanted() == ["sprinter"]
    run(race, curves)
    assert race.runners["sprinter"].state == "violates" and race.runners["sprinter"].block >= 4
    assert race.live() == ["stayer"] and race.feasible("stayer") and race.runners["stayer"].reason == ""


def test_whom_a_failure_had_beaten_comes_back() -> None:
    curves = {"sprinter": [0.9, 0.9], "stayer": [0.6, 0.9], "other": [0.9, 0.9]}
    race = run(halving(curves, [Rung(4), Rung(4)]), curves, until=4)
    by = race.runners["stayer"].by
    assert by and "stayer" not in race.wanted()
    race.fail(by, "timeout", 4)
    assert "stayer" in race.wanted() and race.runners[by].block == 4


def test_the_only_one_left_goes_on_only_where_a_floor_asks_for_it() -> None:
    curves = rising(good=0.95, bad=0.5)
    alone = run(halving(curves, THREE), curves)
    assert alone.live() == ["good"] and max(alone.runners["good"].blocks) < 4
    floored = run(halving(curves, THREE, limits=[FLOOR]), curves)
    used = floored.runners["good"].blocks
    assert floored.feasible("good") and not {4, 5, 6, 7} & set(used) and used[-1] >= 8


def test_where_only_a_floor_is_in_doubt_early_rungs_are_passed_over() -> None:
    curves = rising(aaa=0.95, b=0.9)
    race = halving(curves, THREE, limits=[FLOOR], objective="size")
    assert race.next() == (8, ["aaa", "b"])
    run(race, curves, rows=400)
    assert race.live() == ["b"] and race.feasible("b")


def test_a_baseline_that_limits_refer_to_is_measured_on_the_last_rung() -> None:
    curves = {"base": [0.5, 0.5], "new": [0.9, 0.9]}
    race = halving(curves, [Rung(4), Rung(8)], limits=[Limit("right", ">=", 0.1, "difference")])
    run(race, curves)
    assert race.live() == ["new"] and race.feasible("new") and race.runners["base"].state == "dominated"
    assert race.versus_baseline("new", "right").n >= 100


def test_exact_objectives_are_settled_at_once() -> None:
    curves = rising(aa=0.9, bb=0.5)
    race = run(halving(curves, THREE, objective="size"), curves)
    assert race.live() == ["aa", "bb"] and race.equivalent(race.live()) and race.measurements == 2


def test_budgets_end_it_on_any_rung() -> None:
    curves = rising(a=0.9, b=0.9)
    assert run(halving(curves, THREE, blocks=6), curves).runners["a"].blocks == list(range(6))
    short = run(halving(curves, THREE, room=7), curves)
    assert short.measurements == 6 and short.settled() and not short.equivalent(short.live())
    assert short.blocks_to_separate("a", "b") is None


def test_who_left_early_ranks_as_far_behind_as_it_was() -> None:
    curves = {"a": [0.8, 0.9], "b": [0.6, 0.9], "c": [0.3, 0.9], "d": [0.8, 0.85]}
    race = run(halving(curves, [Rung(10), Rung(10)]), curves)
    assert sorted(race.runners, key=race.rank)[2:] == ["b", "c"]


def test_a_series_over_time_has_no_rungs() -> None:
    cost = Gauge("cost", "mean", "lower", serial=True)
    with pytest.raises(ValueError, match="series over time"):
        Halving(["a"], "a", [cost], [], "cost", 0.05, 0.0, rungs=THREE)
