"""The fits of a pass: kept, shared between processes, told apart by their source, and patient with bad mornings."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import numpy as np
import polars as pl
import pytest
from cadence_streams import CHOICE, START, Counting, policy, stream, task_of
from sklearn.linear_model import LogisticRegression

from weigh.choice import Unfit
from weigh.retrain.cadence import _fits
from weigh.retrain.cadence._build import replay_of
from weigh.retrain.cadence._folder import keep_newest
from weigh.retrain.cadence._history import history_of
from weigh.retrain.cadence._pass import Pass
from weigh.retrain.cadence._source import sources


def test_other_code_under_the_same_name_is_another_task(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    helper, maker = tmp_path / "cadence_helper.py", tmp_path / "cadence_maker.py"
    helper.write_text("C = 1.0\n")
    maker.write_text("from cadence_helper import C\n")
    task = task_of(tmp_path / "h.parquet", stream(60, 10, seed=1), estimator="cadence_maker:make", params={})
    before = task.fingerprint()
    assert before == task.fingerprint()
    maker.write_text("from cadence_helper import C\nimport sklearn\n")
    edited = task.fingerprint()
    helper.write_text("C = 2.0\n")
    assert len({before, edited, task.fingerprint()}) == 3
    assert sources(["cadence_maker:make"])["scikit-learn"] == version("scikit-learn")
    assert sources(["sklearn.svm:SVC", ""]) == {"scikit-learn": version("scikit-learn")}
    assert sources(["cadence_nowhere:make"]) == {"cadence_nowhere": "missing"}


def test_two_at_once_fit_each_window_once(tmp_path):
    """The lock is the operating system's, between any two open files: of one process or of two."""
    counting = {"estimator": "cadence_streams:Counting", "params": {}}
    task = task_of(tmp_path / "h.parquet", stream(60, 10, seed=12), **counting)
    Counting.fits = 0
    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(replay_of, [task] * 3))
    assert Counting.fits == 50
    np.testing.assert_array_equal(made[0].fitted, made[2].fitted)


def test_the_fits_that_were_used_longest_ago_go_first(tmp_path):
    for age, name in enumerate(["newest", "newer", "old", "oldest"]):
        (tmp_path / name).mkdir()
        (tmp_path / name / "replay.npz").write_bytes(bytes(1000))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    keep_newest(tmp_path, 0.0025)
    assert {each.name for each in tmp_path.iterdir()} == {"newest", "newer"}
    keep_newest(tmp_path, 0.0001)
    assert {each.name for each in tmp_path.iterdir()} == {"newest"}


def test_a_gap_in_the_history_keeps_the_newest_model(tmp_path):
    """Twenty days without traffic and windows of ten days: on ten mornings there is nothing to learn from."""
    day = (pl.col("time") - START).dt.total_days()
    gap = stream(80, 20, seed=3, delay=(0.1, 0.2)).filter(~day.is_between(40, 59))
    replay = replay_of(task_of(tmp_path / "h.parquet", gap))
    last = replay.fitted_by_day[40]
    for number in (41, 45, 49):
        own = replay.fitted_by_day[number]
        np.testing.assert_array_equal(own[51:] - own[51], last[51:] - last[51])
    assert not np.array_equal(np.diff(replay.fitted_by_day[51])[51:], np.diff(last)[51:])
    assert "on 10 of 70 mornings no model could be fitted and a retraining kept the newest one" in replay.notes[0]
    assert "2024-02-21, no label" in replay.notes[0]


def test_a_label_so_rare_that_some_windows_have_none(tmp_path):
    day = (pl.col("time") - START).dt.total_days()
    rare = stream(80, 20, seed=4).with_columns(
        label=pl.when(day.is_between(20, 45)).then(pl.lit("no")).otherwise("label")
    )
    bench = CHOICE.open(task_of(tmp_path / "h.parquet", rare), seed=0)
    assert "of one class at most had labels arrived" in bench.replay.notes[0]
    assert bench.prepare(policy("daily")).course.loss.sum() > 0


REFUSING = [
    ("sklearn.neural_network:MLPClassifier", {"early_stopping": True, "hidden_layer_sizes": [2], "max_iter": 2}),
    ("sklearn.linear_model:SGDClassifier", {"class_weight": "balanced"}),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "params"), REFUSING, ids=["net", "balanced"])
def test_a_learner_that_refuses_is_replaced_and_named(tmp_path, estimator, params):
    changes = {"estimator": estimator, "params": params, "start_days": 40}
    bench = CHOICE.open(task_of(tmp_path / "h.parquet", stream(60, 30, seed=5), **changes, block_days=3), seed=0)
    name = estimator.partition(":")[2]
    assert bench.replay.learner == f"SGDClassifier, another model than {name}"
    assert bench.prepare(policy("continuous")).course.updated.sum() == 19
    assert bench.prepare(policy("weekly")).course.retrained.sum() > 0
    note = next(each for each in bench.exhibits({}) if "read against" in each.title).note
    assert f"another model than {name}" in note


def test_a_named_learner_that_refuses_is_unfit_for_continuous_only(tmp_path):
    named = {"online": "sklearn.linear_model:SGDClassifier", "online_params": {"class_weight": "balanced"}}
    bench = CHOICE.open(task_of(tmp_path / "h.parquet", stream(60, 20, seed=6), **named), seed=0)
    with pytest.raises(Unfit, match=r"SGDClassifier refuses to learn incrementally .*balanced.*; name one that can"):
        bench.prepare(policy("continuous"))
    assert bench.prepare(policy("weekly")).course.retrained.sum() == 7
    table = next(each for each in bench.exhibits({}) if "read against" in each.title)
    row = next(row for row in table.rows if row[0].startswith("online without reset"))
    assert row[1:] == (None,) * 4 and "There is no incremental learner: SGDClassifier refuses" in table.note


def test_a_tree_cannot_learn_incrementally_and_has_a_named_stand_in(tmp_path):
    trees = {"estimator": "sklearn.tree:DecisionTreeClassifier", "params": {"max_depth": 2}}
    bench = CHOICE.open(task_of(tmp_path / "h.parquet", stream(60, 20, seed=9), **trees), seed=0)
    assert bench.replay.learner == "SGDClassifier, another model than DecisionTreeClassifier"
    assert bench.prepare(policy("continuous")).course.updated.all(where=np.arange(50) > 0)


SOLVED = {"solver": "newton-cholesky"}


def test_starting_from_a_near_model_gives_what_starting_from_nothing_gives(tmp_path, monkeypatch):
    """With scikit-learn's own tolerance; only Newton's method is started so."""
    frame = stream(90, 60, seed=7, drift=0.02)
    warm = replay_of(task_of(tmp_path / "a.parquet", frame, params=SOLVED, loss="brier"))
    monkeypatch.setattr(_fits, "SEGMENT", 1)
    cold = replay_of(task_of(tmp_path / "b.parquet", frame, params={**SOLVED, "C": 1.0}, loss="brier"))
    assert not np.array_equal(warm.fitted, cold.fitted)
    np.testing.assert_allclose(warm.fitted_by_day, cold.fitted_by_day, rtol=1e-3, atol=1e-3)


def test_fits_do_not_depend_on_workers_or_on_where_a_pass_was_stopped(tmp_path, monkeypatch):
    task = task_of(tmp_path / "h.parquet", stream(60, 30, seed=8, drift=0.02), params=SOLVED)
    whole = replay_of(task).fitted
    made = Pass(task, history_of(task))
    fits = _fits.Fits(made, LogisticRegression(**SOLVED), tmp_path / "parts")
    for day in (0, 16, 5, 20):
        fits.fit(day)
    again = _fits.Fits(made, LogisticRegression(**SOLVED), tmp_path / "parts")
    for days in again.waves():
        for day, losses in zip(days, ThreadPoolExecutor(3).map(again.fit, days)):
            np.testing.assert_array_equal(losses, whole[day, made.cell_starts[day] :])
    assert Counting.fail_at == 0
