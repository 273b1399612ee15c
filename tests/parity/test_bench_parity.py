"""The benchmark of parity runs, and counts what it says it counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.parity.__main__ import figures, run
from benchmarks.parity.faults import FAULTS
from benchmarks.parity.pipelines import CLEAN
from weigh.model.source import open_source
from weigh.parity import certify


def test_there_are_twenty_of_each():
    assert len(FAULTS) == len(CLEAN) == 20
    assert not set(FAULTS) & set(CLEAN)
    assert all(make.__doc__ for make in FAULTS.values())


@pytest.mark.parametrize("name", ["bf16_merge", "untied_head", "duplicate_bos", "halves", "pruned"])
def test_a_pipeline_is_built_judged_and_thrown_away(base: Path, tmp_path: Path, name: str):
    case = run(name, (FAULTS | CLEAN)[name], base, tmp_path / "work", 3)
    assert case["blamed"] == case["broken"]
    assert not (tmp_path / "work").exists()


def test_figures_are_counts():
    cases = [
        {"name": str(at), "broken": broken, "blamed": blamed, "seconds": float(at)}
        for at, (broken, blamed) in enumerate([(1, 1), (2, 1), (3, 0), (0, 0), (0, 2)])
    ]
    found = figures(cases)
    assert (found["faults"], found["faults_found"], found["hops_blamed"]) == (3, 2, 1)
    assert (found["clean_pipelines"], found["false_alarms"], found["seconds_max"]) == (2, 1, 4.0)
    assert (found["missed"], found["blamed_wrongly"]) == (["2"], ["1"])


def test_one_hop_is_certified_by_paths_and_by_sources(base: Path):
    assert certify(base, str(base), "copy").ok
    assert certify(open_source(base), open_source(base), "cast:dtype=float32").ok
