"""What each policy does, on streams where the right thing to do is known, and what the exhibits say of it."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from cadence_streams import CHOICE, FIXED, START, bench_of, cost, policy, random_replay, stream, task_of

from weigh.choice import Unfit
from weigh.retrain.cadence._build import replay_of
from weigh.retrain.cadence._day import Day, Past
from weigh.retrain.cadence._walk import follow


@pytest.mark.parametrize(
    "text, days",
    [
        ("weekly:weekday=3", {date(2024, 3, 7), date(2024, 3, 14), date(2024, 3, 21), date(2024, 3, 28)}),
        ("monthly:day=15", {date(2024, 3, 15)}),
        ("quarterly", {date(2024, 4, 1)}),
        ("every:days=13", {date(2024, 3, 14), date(2024, 3, 27)}),
        ("never", set()),
    ],
)
def test_the_calendar_is_kept(text, days):
    course = follow(random_replay(32, seed=0), policy(text).act, seed=0)
    retrained = {date(2024, 3, 1) + timedelta(days=int(number)) for number in np.flatnonzero(course.retrained)}
    assert retrained == days


def test_after_jumps_retraining_on_error_beats_every_fixed_period(tmp_path):
    """Two jumps on days no calendar knows, nothing else, and a price at which weekly retraining is a waste."""
    speeds = np.zeros(14 + 7 * 28)
    speeds[[60, 141]] = np.pi / 2
    bench = bench_of(tmp_path / "h.parquet", speeds)
    alarm = cost(bench, "on_error")
    assert alarm < 0.9 * min(cost(bench, text) for text in FIXED)
    assert bench.prepare(policy("on_error")).course.retrained.sum() <= 6


def test_when_inputs_move_with_the_relation_retraining_on_drift_beats_every_fixed_period(tmp_path):
    """The label turns round whenever the inputs move to the other side, which is on two days that no calendar knows."""
    frame = stream(7 * 36, 60, seed=7, delay=(1.0, 2.0))
    day = (frame["time"] - START).dt.total_days().to_numpy()
    side = np.where((day > 80) & (day < 190), 1.0, -1.0)
    x = frame["x"].to_numpy() + 2 * side
    label = np.where(side * frame["z"].to_numpy() > 0, "yes", "no")
    moved = frame.with_columns(x=pl.Series(x), label=pl.Series(label))
    bench = CHOICE.open(task_of(tmp_path / "h.parquet", moved, train_days=7, retraining_cost=100.0), seed=0)
    drift = cost(bench, "on_drift:days=3,threshold=1,rest=5")
    assert drift < 0.9 * min(cost(bench, text) for text in FIXED)


def test_where_nothing_drifts_no_policy_beats_never_and_false_alarms_cost(tmp_path):
    bench = bench_of(tmp_path / "h.parquet", np.zeros(14 + 7 * 20))
    never = cost(bench, "never")
    for text in ("daily", "weekly", "monthly", "on_error"):
        retrained = bench.prepare(policy(text)).course.retrained.sum()
        assert cost(bench, text) >= never if retrained else cost(bench, text) == never
        assert cost(bench, text) == pytest.approx(never + 60.0 * retrained, rel=0.15)
    assert cost(bench, "on_drift") == never


def test_drift_is_the_population_stability_index_of_raw_rows(tmp_path):
    frame = stream(60, 50, seed=8).with_columns(x=pl.col("x") + (pl.col("time") - START).dt.total_days() / 30)
    replay = replay_of(task_of(tmp_path / "h.parquet", frame, features=("x", "group")))
    past = Past(replay)
    past.model = 12
    got = Day(past, 30, date(2024, 2, 10), seed=0).drift(days=5)
    midnight = lambda day: START + timedelta(days=10 + day)  # noqa: E731
    recent = frame.filter(pl.col("time").is_between(midnight(25), midnight(30), closed="left"))
    window = frame.filter(pl.col("label_time") > midnight(2), pl.col("label_time") <= midnight(12))
    base = frame.filter(pl.col("time") < midnight(0))["x"].to_numpy()
    edges = np.concatenate([[-np.inf], np.quantile(base, np.linspace(0, 1, 11)[1:-1]), [np.inf]])
    counts = [np.histogram(part["x"].to_numpy(), edges)[0] for part in (recent, window)]
    groups = [[(part["group"] == name).sum() for name in "abc"] for part in (recent, window)]
    assert got == pytest.approx([psi(*counts), psi(*groups)])
    assert got[0] > 0.4 > 0.1 > got[1]


def psi(recent, window) -> float:
    p, q = (np.maximum(np.array(part) / sum(part), 1e-4) for part in (recent, window))
    return float(((p - q) * np.log(p / q)).sum())


def test_the_incremental_learner_follows_slow_drift_that_leaves_the_frozen_model_behind(tmp_path):
    fast = {"online_params": {"eta0": 0.05, "fit_intercept": False}, "update_cost": 0.0}
    bench = bench_of(tmp_path / "h.parquet", [0.02] * (14 + 7 * 20), **fast)
    assert cost(bench, "continuous") < 0.6 * cost(bench, "never")


def test_a_policy_whose_retrainings_cannot_pay_is_unfit_and_told_why(tmp_path):
    bench = bench_of(tmp_path / "h.parquet", [0.02] * (14 + 7 * 20), retraining_cost=1000.0)
    with pytest.raises(Unfit, match="raise block_days above 7"):
        bench.prepare(policy("daily"))
    assert bench.prepare(policy("weekly")).costs.max() < 10


def test_labels_that_arrive_late_do_not_blame_the_new_model_for_the_old_one(tmp_path):
    """One jump, labels four weeks late: after the retraining, the old model's errors go on arriving for weeks."""
    speeds = np.zeros(14 + 7 * 40)
    speeds[140] = np.pi / 2
    bench = bench_of(tmp_path / "h.parquet", speeds, delay=28.0, start_days=42, retraining_cost=20.0)
    retrained = np.flatnonzero(bench.prepare(policy("on_error")).course.retrained)
    first = 140 - 42 + 29
    assert ((retrained >= first) & (retrained < first + 28)).sum() == 1
    assert len(retrained) <= 4
