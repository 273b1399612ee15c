"""The plan: what is measured, in which order, and that the verdict does not depend on it."""

from __future__ import annotations

import numpy as np

from weigh.scale.gauge import Gauge, Limit
from weigh.scale.race import Race

ACCURACY, SIZE = Gauge("accuracy", "mean", "higher", population=5000), Gauge("size", "exact", "lower")
FLOOR = Limit("accuracy", ">=", -0.03, "difference")
DROPS = {"tiny": 0.30, "small": 0.10, "edge": 0.027, "fine": 0.01, "safe": 0.0, "base": 0.0}
SIZES = {"tiny": 1.0, "small": 2.0, "edge": 3.0, "fine": 4.0, "safe": 5.0, "base": 9.0}


def table(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    base = (rng.random(5000) < 0.9).astype(float)
    return {name: np.where(rng.random(5000) < drop / 0.9, 0.0, base) for name, drop in DROPS.items()}


def race(room: int | None = None) -> Race:
    made = Race(list(DROPS), "base", [ACCURACY, SIZE], [FLOOR], "size", 0.05, 0.0, blocks=100, room=room)
    made.know({name: {"size": size} for name, size in SIZES.items()})
    return made


def played(made: Race, rows: dict[str, np.ndarray]) -> Race:
    while not made.settled():
        block, names = made.next()
        made.add(block, {name: {"accuracy": rows[name][50 * block : 50 * block + 50]} for name in names})
        made.judge(block)
    return made


def test_the_cheapest_that_meets_the_floor_is_found_for_a_part_of_the_measurements() -> None:
    made = played(race(), table(0))
    assert made.live() == ["edge"] and made.feasible("edge")
    assert {name: made.runners[name].state for name in ("tiny", "small")} == {"tiny": "violates", "small": "violates"}
    assert made.measurements < 0.5 * 600
    used = {name: len(runner.blocks) for name, runner in made.runners.items()}
    assert used["edge"] == max(used.values()) and used["fine"] < used["edge"] / 2 and used["tiny"] <= 5


def test_every_option_reads_a_beginning_of_the_same_blocks_and_the_baseline_reads_on_with_it() -> None:
    made = played(race(), table(1))
    for runner in made.runners.values():
        assert runner.blocks == list(range(len(runner.blocks)))
        assert len(runner.blocks) <= len(made.runners["base"].blocks)


def test_the_verdict_is_the_same_when_the_evidence_is_judged_in_order_of_blocks() -> None:
    for seed in range(6):
        rows = table(seed)
        made, again = played(race(), rows), race()
        for block in range(100):
            names = [name for name, runner in made.runners.items() if block < len(runner.blocks)]
            if names:
                again.add(block, {name: {"accuracy": rows[name][50 * block : 50 * block + 50]} for name in names})
                again.judge(block)
        assert again.live() == made.live()
        assert [again.feasible(name) for name in again.live()] == [made.feasible(name) for name in made.live()]


def test_room_is_kept_to() -> None:
    made = played(race(room=60), table(2))
    assert made.measurements <= 60 and made.settled() and "base" in made.runners
    assert any(made.feasible(name) for name in made.live()), "the baseline meets a floor relative to itself"


def test_what_is_out_of_reach_is_not_pursued() -> None:
    """Two options that no number of blocks at hand could part from the floor."""
    gauge = Gauge("accuracy", "mean", "higher")
    made = Race(["a", "b", "base"], "base", [gauge, SIZE], [FLOOR], "size", 0.05, 0.0, blocks=40)
    made.know({"a": {"size": 1.0}, "b": {"size": 2.0}, "base": {"size": 3.0}})
    rng = np.random.default_rng(0)
    base = (rng.random(1000) < 0.9).astype(float)
    rows = {"base": base} | {name: np.where(rng.random(1000) < 0.03 / 0.9, 0.0, base) for name in "ab"}
    while not made.settled():
        block, names = made.next()
        made.add(block, {name: {"accuracy": rows[name][25 * block : 25 * block + 25]} for name in names})
        made.judge(block)
    assert {"a", "b"} <= set(made.live()) and min(len(made.runners[name].blocks) for name in "ab") < 40
