"""The benchmark of compression: resamples are scored by the truth, what was played is kept, peers are told the same."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="pip install 'weigh[retrain]'")
pytest.importorskip("onnx", reason="pip install 'weigh[compress]'")

from benchmarks.compress import __main__ as command
from benchmarks.compress import duets, fronts, material, overhead, rivals, scores, tables
from benchmarks.compress.fronts import Asked
from benchmarks.compress.material import Material
from benchmarks.compress.rivals import Draw, Outcome
from benchmarks.compress.runs import Net
from benchmarks.compress.tables import Truth
from benchmarks.decisions.families._nets import Layer
from benchmarks.decisions.families.latency import _graph
from weigh.choice import UsageError


def _truth() -> Truth:
    rng = np.random.default_rng(0)
    draw = rng.random((4000, 1))
    times = rng.lognormal(0.0, 0.05, (600, 5)) * np.array([4.0, 2.0, 1.0, 2.5, 4.5])
    right = (draw < np.array([0.95, 0.9, 0.7, 0.85, 0.94])).astype(float)
    return Truth("dice", "dice", ("float32", "int8", "int2", "poor", "slow"), np.array([8, 4, 1, 5, 9.0]), right, times)


def _material(tmp_path: Path) -> Material:
    """A net of random weights, whose own answers are the labels but for some."""
    rng = np.random.default_rng(0)
    shapes = (12, 96), (96, 96), (96, 1)
    layers = [Layer(rng.normal(0, 0.3, shape).astype(np.float32), np.zeros(shape[1], np.float32)) for shape in shapes]
    path = tmp_path / "0-float32.onnx"
    path.write_bytes(_graph(layers))
    x = rng.normal(size=(1600, 12)).astype(np.float32)
    made = Material("dice", "dice", {"float32": path}, x, np.zeros(1600, np.int64), x[:300] + 1, {})
    made = replace(made, answer={"answer": "threshold", "threshold": 0.0})
    labels = Net(path, made).right(x, np.ones(1600, np.int64)).astype(np.int64)
    return replace(made, y=np.where(rng.random(1600) < 0.05, 1 - labels, labels))


@pytest.mark.parametrize("against", ["size", "latency"])
def test_a_resample_is_scored_by_the_table(against: fronts.Against):
    asked = Asked(_truth(), against)
    assert asked.dominated.tolist() == [False, False, False, True, True]
    assert asked.beaten.tolist() == [False, False, False, True, True]
    play = asked.play(1)
    assert play == asked.play(1)
    assert not play.false_dominance and play.covered and not play.false_front
    assert (play.dominated, play.front, play.open) == (2, 3, 0)
    assert 0 < play.measured <= fronts.BUDGET


def test_claims_that_are_false_are_counted(monkeypatch: pytest.MonkeyPatch):
    asked = Asked(_truth(), "size")
    right = np.array([False, False, False, False, True])
    monkeypatch.setattr(Asked, "dominated", right)
    monkeypatch.setattr(Asked, "beaten", ~right)
    play = asked.play(1)
    assert play.false_dominance and play.false_front


def test_resamples_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tables, "load", lambda name: _truth())
    monkeypatch.setattr(fronts, "FOLDER", tmp_path)
    fronts._asked.cache_clear()
    fronts._digest.cache_clear()
    plays = fronts.played("dice", "size", 3, 1, folder=tmp_path)
    (kept,) = (tmp_path / "fronts").glob("*.json")
    rows = json.loads(kept.read_text())
    assert len(rows) == len(plays) == 3
    kept.write_text(json.dumps([dict(row, measured=0.25) for row in rows]))
    assert [play.measured for play in fronts.played("dice", "size", 3, 1, folder=tmp_path)] == [0.25] * 3
    told = fronts.figures({("dice", "size"): plays})
    assert told["false_dominance"] == 0.0 and told["coverage"] == 1.0 and told["measured_fraction"] <= 1 / 3
    assert told["questions"]["dice, accuracy against size"]["on_front"] == 3
    fronts._asked.cache_clear()
    fronts._digest.cache_clear()


def test_ratios_are_medians_of_pairs():
    truth = _truth()
    assert truth.ratios[1, 0] == pytest.approx(0.5, rel=0.02)
    assert np.allclose(np.diag(truth.ratios), 1.0)


def test_an_option_of_the_choice_makes_a_candidate(tmp_path: Path):
    subject = _material(tmp_path)
    made = tables.converted(subject, subject.models["float32"], "int8_static", subject.pool, tmp_path / "made.onnx")
    base, small = Net(subject.models["float32"], subject), Net(made, subject)
    assert 0.9 < base.right(subject.x, subject.y).mean() < 1.0
    assert abs(small.right(subject.x, subject.y).mean() - base.right(subject.x, subject.y).mean()) < 0.05


def test_what_the_exporter_noted_is_no_size():
    import onnx

    model = onnx.load_from_string(_graph([Layer(np.ones((2, 2), np.float32), np.zeros(2, np.float32))]))
    note = model.graph.node[0].metadata_props.add()
    note.key, note.value = "stack_trace", "x" * 10_000
    assert len(material.bare(model.SerializeToString())) < 1_000


def test_weigh_is_asked_under_a_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rivals, "WHOLE", ("none", "int8_static"))
    subject = _material(tmp_path)
    (one,) = rivals.played("weigh", subject, [Draw("dice", 0.05, 0)])
    assert one.rule == "weigh" and one.key == "dice-0.05-0"
    assert not one.violated and 50 <= one.rows <= 2000 and one.cpu_seconds > 0
    assert one.certified == (one.what.split(": ")[1] != "none")


def test_a_violator_is_one_by_all_rows(tmp_path: Path):
    subject = _material(tmp_path)
    hollow = tmp_path / "hollow.onnx"
    hollow.write_bytes(_graph([Layer(np.zeros((12, 1), np.float32), -np.ones(1, np.float32))]))
    told = rivals.Judge(subject).outcome("peer", Draw("dice", 0.02, 3), hollow, "nothing", True, 2000, 1.0)
    assert told.violated and told.drop > 0.02 and told.size < 1


def test_a_job_of_a_peer_counts_the_rows_that_models_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(rivals.HERE))
    for name in ("OMP_NUM_THREADS", "TELEMETRY_DISABLED", "DO_NOT_TRACK"):
        monkeypatch.setenv(name, "1")
    import _asked

    subject, draw = _material(tmp_path), Draw("dice", 0.05, 0)
    rivals.written(subject, draw, tmp_path)
    rows, calibration = (str(tmp_path / f"{draw.key}-{part}.npz") for part in ("rows", "calibration"))
    job = _asked.Job(
        {"model": str(subject.models["float32"]), "floor": 0.05, "folder": str(tmp_path / "out"), "threshold": 0.0,
         "data": rows, "calibration": calibration}
    )  # fmt: skip
    assert len(job.calibration) == rivals.CALIBRATION and len(job.x) == rivals.ROWS
    assert 0.9 < job.accuracy(subject.models["float32"].read_bytes()) < 1.0
    assert job.rows == rivals.ROWS and len(job.evaluations) == 1
    sys.modules.pop("_asked")


def test_a_peer_that_cannot_be_installed_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WEIGH_CACHE", str(tmp_path))
    monkeypatch.setattr(rivals.venv, "create", lambda *a, **b: None)
    failed = SimpleNamespace(returncode=1, stderr="ERROR: No matching distribution\n")
    monkeypatch.setattr(rivals.subprocess, "run", lambda *a, **b: failed)
    with pytest.raises(UsageError, match=r"inc could not be installed .*: ERROR: No matching distribution"):
        rivals.environment("inc")


def test_outcomes_are_kept_and_scored_on_the_draws_that_all_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rivals, "FOLDER", tmp_path)

    def made(key: str, rule: str, size: float, rows: int, violated: bool = False) -> Outcome:
        return Outcome(key, rule, "x", size < 1, 0.0, violated, size, rows, 2.0, "d")

    kept = rivals.kept(tmp_path)
    for one in (
        made("a-0.01-0", "weigh", 0.3, 500), made("a-0.01-0", "inc", 0.3, 2000, True),
        made("a-0.01-1", "weigh", 1.0, 1500), made("a-0.01-1", "inc", 0.3, 2000), made("a-0.01-2", "weigh", 0.3, 100),
    ):  # fmt: skip
        kept.add(one)
    with kept.path.open("a") as file:
        file.write('{"key": "a-0')
    told = scores.figures(list(rivals.kept(tmp_path).known.values()))
    assert told["rival_draws"] == 2
    assert told["floors_violated"] == 0 and told["inc_floors_violated"] == 1
    assert told["measuring_ratio_inc"] == 0.5
    assert told["cost_ratio_inc"] == pytest.approx(1.3 / 0.6, abs=1e-3)
    assert told["cost_ratio_inc_where_certified"] == 1.0


def test_a_trial_and_the_bare_calls_do_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    subject = _material(tmp_path)
    right, times = overhead._bare(subject.models["float32"], subject, subject.x[:100], subject.y[:100])
    assert right == Net(subject.models["float32"], subject).right(subject.x[:100], subject.y[:100]).mean()
    assert len(times) == overhead.RUNS
    monkeypatch.setattr(overhead, "ROWS", 900)
    monkeypatch.setattr(overhead, "ROUNDS", 30)
    assert 0.8 < overhead._pairs(subject, tmp_path).estimate < 2.0


def test_what_is_chosen_is_timed_against_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    subject = _material(tmp_path)
    monkeypatch.setattr(material, "load", lambda task: subject)
    monkeypatch.setattr(duets, "PEERS", ("inc",))
    monkeypatch.setattr(duets, "ROUNDS", 120)
    monkeypatch.setattr(duets, "by_weigh", lambda *asked: {"chosen": None})
    monkeypatch.setattr(duets, "by_peer", lambda *asked: [{"chosen": subject.models["float32"]}])
    found = duets.ratios("dice", tmp_path)
    assert list(found) == ["weigh", "inc"]
    assert all(0.5 < ratio < 2 for ratio, _, _ in found.values())
    monkeypatch.setattr(duets, "measured", None)
    assert duets.ratios("dice", tmp_path) == found


def test_what_cannot_be_asked_is_refused_in_a_line(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        command.arguments(["--draws", "0"])
    assert "0 is too small; type 1 or more" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.arguments(["--part", "snow"])
    assert "invalid choice: 'snow'" in capsys.readouterr().err
