"""What each policy does, on streams where the right thing to do is known, and what the exhibits say of it."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from cadence_streams import START, random_replay, stream, task_of

from weigh import catalog
from weigh.choice import Unfit
from weigh.retrain.cadence import CadenceChoice, CadenceTask
from weigh.retrain.cadence._build import replay_of
from weigh.retrain.cadence._day import Day, Past
from weigh.retrain.cadence._encode import BINS, LEVELS, encoded
from weigh.retrain.cadence._toy import turning
from weigh.retrain.cadence._walk import follow

CHOICE = CadenceChoice()


def policy(text: str):
    return catalog.find(CHOICE, text)


def bench_of(path, speeds, rows=60, **changes):
    turning(path, speeds, rows=rows, noise=0.05, seed=2)
    settings = {
        "features": ("x0", "x1"),
        "params": {"fit_intercept": False, "solver": "newton-cholesky"},
        "train_days": 7,
        "start_days": 14,
    }
    task = CadenceTask(history=path, time="time", label="label", **{**settings, "retraining_cost": 60.0, **changes})
    return CHOICE.open(task, seed=0)


def cost(bench, text: str) -> float:
    return float(bench.prepare(policy(text)).course.cost(bench.prices).sum())


FIXED = ("never", "daily", "weekly", "every:days=14", "monthly", "quarterly")


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


def test_a_row_is_encoded_without_looking_at_later_rows():
    """A future with new categories and gaps changes no number of the rows before it, constant columns apart."""
    draw = np.random.default_rng(0)
    past = pl.DataFrame(
        {"x": draw.normal(5, 2, 200), "group": draw.choice(list("abc"), 200), "flag": draw.random(200) > 0.5}
    )
    future = pl.DataFrame({"x": [None, 900.0, 7.0] * 30, "group": ["a", "new", "other"] * 30, "flag": [True] * 90})
    both = pl.concat([past, future])
    alone, *_ = encoded(past, past.columns, np.arange(200) < 100)
    ahead, *_ = encoded(both, both.columns, np.arange(290) < 100)
    moving = [column for column in range(ahead.shape[1]) if np.ptp(ahead[:200, column]) > 0]
    np.testing.assert_array_equal(ahead[:200][:, moving], alone)
    assert [len(set(ahead[:200, c])) for c in range(ahead.shape[1]) if c not in moving] == [1, 1, 1]
    assert np.isfinite(ahead).all() and alone[:100, 0].mean() == pytest.approx(0, abs=1e-6)


def test_of_many_categories_the_most_frequent_get_columns():
    names = [f"c{min(i, j)}" for i in range(50) for j in range(50)]
    matrix, _, _, width = encoded(pl.DataFrame({"c": names}), ["c"], np.ones(2500, dtype=bool))
    assert matrix.shape == (2500, LEVELS) and width == LEVELS + 1
    assert matrix.sum(axis=0).min() > (2500 - matrix.sum()) / 20
    assert set(matrix.sum(axis=1)) == {0.0, 1.0}


def test_numbers_fall_into_tenths_of_the_first_window():
    values = np.arange(1000.0)
    _, bins, *_ = encoded(pl.DataFrame({"x": values}), ["x"], np.ones(1000, dtype=bool))
    assert np.bincount(bins[:, 0]).tolist() == [100] * BINS


def test_an_estimator_that_cannot_learn_incrementally_is_unfit_for_continuous_only(tmp_path):
    trees = {"estimator": "sklearn.tree:DecisionTreeClassifier", "params": {"max_depth": 2}}
    task = task_of(tmp_path / "h.parquet", stream(60, 20, seed=9), **trees)
    bench = CHOICE.open(task, seed=0)
    with pytest.raises(Unfit, match=r"partial_fit.*online: sklearn\.linear_model:SGDClassifier"):
        bench.prepare(policy("continuous"))
    assert bench.prepare(policy("weekly")).course.retrained.sum() == 7
    named = task.model_copy(update={"online": "sklearn.linear_model:SGDClassifier"})
    assert CHOICE.open(named, seed=0).prepare(policy("continuous")).course.updated.all(where=np.arange(50) > 0)


def test_the_incremental_learner_follows_slow_drift_that_leaves_the_frozen_model_behind(tmp_path):
    fast = {"online_params": {"eta0": 0.05, "fit_intercept": False}, "update_cost": 0.0}
    bench = bench_of(tmp_path / "h.parquet", [0.02] * (14 + 7 * 20), **fast)
    assert cost(bench, "continuous") < 0.6 * cost(bench, "never")


def test_a_policy_whose_retrainings_cannot_pay_is_unfit_and_told_why(tmp_path):
    bench = bench_of(tmp_path / "h.parquet", [0.02] * (14 + 7 * 20), retraining_cost=1000.0)
    with pytest.raises(Unfit, match="raise block_days above 7"):
        bench.prepare(policy("daily"))
    assert bench.prepare(policy("weekly")).costs.max() < 10


@pytest.fixture(scope="module")
def changing(tmp_path_factory):
    """Nearly still in the first half, turning fast in the second: what was best on the past is wrong afterwards."""
    speeds = np.concatenate([np.full(14 + 7 * 20, 0.001), np.full(7 * 20, 0.05)])
    return bench_of(tmp_path_factory.mktemp("changing") / "h.parquet", speeds, retraining_cost=15.0)


def test_choosing_on_the_past_is_compared_with_living_with_it(changing):
    subjects = {text: changing.prepare(policy(text)) for text in FIXED}
    table = changing.exhibits(subjects)[1]
    found = {row[0].split(",")[0]: row for row in table.rows}
    naive, best = found["best on the first half"], found["best fixed policy of the second half"]
    again = found["lowest cost so far"]
    assert naive[1] in ("never", "quarterly", "monthly") and best[1] == "weekly"
    assert naive[2] > again[2] > best[2] > found["best schedule in hindsight"][2]
    assert naive[2] > 1.5 * best[2]
    later = changing.by_block(subjects["weekly"].course.cost(changing.prices))[20:]
    assert best[2] == pytest.approx(later.mean() / 7)


def test_the_exhibits_show_the_baselines_whatever_is_raced(changing):
    table, _, by_time, by_age, by_delay = changing.exhibits({"weekly": changing.prepare(policy("weekly"))})
    names = [row[0] for row in table.rows]
    assert names[0] == "weekly"
    for text in ("hindsight", "no change", "frozen", "online without reset"):
        assert any(text in name for name in names)
    frozen = next(row for row in table.rows if "frozen" in row[0])
    assert frozen[1] == pytest.approx(cost(changing, "never") / changing.replay.days)
    for _, mean, low, high, error, _, regret, *_ in table.rows:
        assert low <= mean <= high and 0 <= error <= 1 and regret >= 0
    assert len(by_time.lines[0].x) == 40 and by_time.lines[0].x[0] == "2024-01-15"
    ages = by_age.lines[0]
    assert ages.x[:4] == (0, 1, 2, 3) and ages.y[0] == 0 and ages.low[7] > 0
    delays = by_delay.lines[0]
    assert delays.name == "weekly" and delays.y[-1] > delays.y[0]


def test_a_label_delay_read_from_the_table_is_that_of_labels_which_came_later(tmp_path):
    """The curve at 5 days, against a history whose labels really come 5 days later."""
    frame = stream(90, 40, seed=10, drift=0.03, delay=(0.2, 0.7))
    late = frame.with_columns(pl.col("label_time") + pl.duration(days=5))
    now, then = (
        replay_of(task_of(tmp_path / f"{n}.parquet", f, start_days=20)) for n, f in (("now", frame), ("late", late))
    )
    np.testing.assert_array_equal(then.fitted[5:].sum(axis=1) > 0, True)
    for day in (10, 30, 60):
        own = now.fitted_by_day[day - 5], then.fitted_by_day[day]
        np.testing.assert_array_equal(own[0][day + 1 :] - own[0][day], own[1][day + 1 :] - own[1][day])
