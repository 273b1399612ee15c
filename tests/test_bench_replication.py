"""The benchmark of replication: a record is decided, edited and measured again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="pip install 'weigh[retrain]'")

from benchmarks.decisions import replay, store
from benchmarks.decisions.family import Family
from benchmarks.decisions.play import Table
from benchmarks.replication import Turn, edited, figures, is_family, kind, replicas, turns
from weigh import catalog
from weigh.choice import Block, UsageError
from weigh.constraint import Constraint
from weigh.decision import OptionLock
from weigh.engine.inline import InlineEngine
from weigh.scale.gauge import Gauge, Limit


def _family(serial: bool = False, population: int | None = None) -> Family:
    """Times of three nets of which the smaller is right less often."""
    rng = np.random.default_rng(5)
    right = (rng.random((1000, 1)) < np.array([0.5, 0.93, 0.94])).astype(float)
    return Family(
        name="three-nets", kind="compressed", source="dice", options=("int2", "int8", "float32"), baseline="float32",
        gauges=(
            Gauge("size", "exact", "lower"), Gauge("right", "mean", "higher", population=population),
            Gauge("latency", "time", "lower"),
        ),
        exact={"size": np.array([2.0, 8.0, 32.0])},
        values={"right": right, "latency": rng.lognormal(size=(1000, 3)).astype(np.float32).astype(float)},
        objective="size", settings=((Limit("right", ">=", -0.12345678, "difference"), Limit("size", "<=", 40.0)),),
        serial=serial, block=20,
    )  # fmt: skip


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Family:
    monkeypatch.setenv("WEIGH_CACHE", str(tmp_path / "cache"))
    store.save(_family(population=1000), replay.files("three-nets").table)
    return _family(population=1000)


@pytest.mark.parametrize(("serial", "population"), [(False, None), (False, 1000), (True, None)])
def test_a_block_is_the_row_of_the_table_for_that_seed(serial: bool, population: int | None):
    table = Table(_family(serial, population))
    bench = replay.Draws(table, 11)
    assert bench.blocks.race + bench.blocks.fresh == len(table.rows(11)) == 50
    assert bench.blocks.population == population
    for block in (0, 7, 49):
        units = table.rows(11)[block]
        got = bench.trial(bench.prepare(replay.Column(column="int8")), Block(index=block, seed=3))
        assert got["size"] == 8.0
        assert all(got[name] == values[units, 1].tolist() for name, values in table.family.values.items())
    assert not np.array_equal(table.rows(11), replay.Draws(table, 12).rows)


def test_a_family_is_a_choice_with_its_gauges_and_limits(three: Family):
    made = catalog.choice("benchmarks.decisions.replay:three_nets")
    assert {measure.name: measure.kind for measure in made.measures} == {g.name: g.kind for g in three.gauges}
    assert made.measures[0].name == made.cost == three.objective
    limits = [Constraint.parse(text, made.measures).limit() for text in made.require]
    assert tuple(limits) == three.settings[0]
    assert catalog.find(made, made.baseline) == replay.Column(column="float32")
    assert made.loser() == replay.Column(column="int2")
    assert kind("three-nets") == "tables_compressed" and is_family("three-nets")


def test_what_a_table_has_not_is_refused(three: Family):
    with pytest.raises(UsageError, match="no table of two_nets; build it"):
        catalog.choice("benchmarks.decisions.replay:two_nets")
    with pytest.raises(UsageError, match="no column 'int7' of three-nets"):
        replay.Draws(Table(three), 0).prepare(replay.Column(column="int7"))


def test_a_record_of_a_table_is_replicated(three: Family, tmp_path: Path):
    (made,) = replicas([Turn("three-nets", 1, 100, False)], tmp_path)
    assert made.refused and made.status == "holds" and not made.same
    assert "column=int8" in made.text
    told = figures([made])
    assert told["families"] == told["tables_compressed_records"] == told["tables_compressed_holds"] == 1


def test_another_table_under_the_same_name_is_another_task(three: Family, tmp_path: Path):
    made = catalog.choice("benchmarks.decisions.replay:three_nets")
    copy = made.toy(tmp_path)
    assert copy.fingerprint() == replay.files("three-nets").fingerprint()
    copy.table.write_bytes(copy.table.read_bytes() + b" ")
    assert copy.fingerprint() != replay.files("three-nets").fingerprint()


def test_a_trial_is_run_from_its_lock(three: Family):
    engine = InlineEngine()
    made = catalog.choice("benchmarks.decisions.replay:three_nets")
    engine.open("benchmarks.decisions.replay:three_nets", replay.files("three-nets").model_dump(mode="json"), 4)
    locked: OptionLock = catalog.lock_option(made, replay.Column(column="int2"))
    (trial,) = engine.run(Block(index=2, seed=0), [locked])
    assert (
        trial.status == "measured"
        and trial.values["right"] == three.values["right"][Table(three).rows(4)[2], 0].tolist()
    )


def test_a_record_of_a_toy_task_is_replicated(tmp_path: Path):
    (made,) = replicas([Turn("cause/experiment", 1, 100, True)], tmp_path)
    assert made.refused and made.loaded
    assert made.status in ("holds", "not settled")
    told = figures([made])
    assert told["records"] == told["edited_refused"] == told["cause_experiment_records"] == 1
    assert sum(told[name] for name in ("holds", "contradicted", "not_settled")) == 1  # type: ignore[misc]


def test_sources_take_turns_with_and_without_load():
    made = turns(["one", "two"], ["cause/experiment"], 20)
    assert sum(is_family(turn.source) for turn in made) == 16 and sum(turn.loaded for turn in made) == 10
    for source in ("one", "two", "cause/experiment"):
        assert {turn.loaded for turn in made if turn.source == source} == {True, False}
    assert [turn.source for turn in turns([], ["cause/experiment"], 2)] == ["cause/experiment"] * 2


def test_one_byte_is_edited(tmp_path: Path):
    record = tmp_path / "record.md"
    record.write_bytes(bytes(range(256)))
    copies = [edited(record, seed).read_bytes() for seed in range(20)]
    assert {sum(a != b for a, b in zip(copy, record.read_bytes(), strict=True)) for copy in copies} == {1}
