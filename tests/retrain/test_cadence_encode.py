"""Features as numbers: nothing is learnt from later rows, and each window has its own encoder's columns."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from cadence_streams import START, stream, task_of

from weigh.choice import UsageError
from weigh.retrain.cadence._build import replay_of
from weigh.retrain.cadence._encode import BINS, LEVELS, MOST, Windows, encoded
from weigh.retrain.cadence._history import history_of
from weigh.retrain.cadence._leak import refuse_copies


def numbers(frame: pl.DataFrame, first: int = 100, arrival=None, windows: int = 1, length: int = 1):
    """A frame encoded; every row arrives on the first morning unless said otherwise."""
    when = np.ones(frame.height, dtype=int) if arrival is None else arrival
    return encoded(frame, frame.columns, np.arange(frame.height) < first, Windows(when, 1, 1 + windows, length))


def test_a_row_is_encoded_without_looking_at_later_rows():
    """A future with new categories and gaps changes no number of the rows before it, constant columns apart."""
    draw = np.random.default_rng(0)
    past = pl.DataFrame(
        {"x": draw.normal(5, 2, 200), "group": draw.choice(list("abc"), 200), "flag": draw.random(200) > 0.5}
    )
    future = pl.DataFrame({"x": [None, 900.0, 7.0] * 30, "group": ["a", "new", "other"] * 30, "flag": [True] * 90})
    both = pl.concat([past, future])
    alone, ahead = numbers(past).matrix, numbers(both).matrix
    moving = [column for column in range(ahead.shape[1]) if np.ptp(ahead[:200, column]) > 0]
    np.testing.assert_array_equal(ahead[:200][:, moving], alone)
    assert [len(set(ahead[:200, c])) for c in range(ahead.shape[1]) if c not in moving] == [1, 1, 1]
    assert np.isfinite(ahead).all() and alone[:100, 0].mean() == pytest.approx(0, abs=1e-6)


def test_of_many_categories_the_most_frequent_get_columns():
    names = [f"c{min(i, j)}" for i in range(50) for j in range(50)]
    made = numbers(pl.DataFrame({"c": names}), first=2500)
    matrix = made.matrix
    assert matrix.shape == (2500, LEVELS) and made.width == LEVELS + 1 and made.seen[1:].all()
    assert matrix.sum(axis=0).min() > (2500 - matrix.sum()) / 20
    assert set(matrix.sum(axis=1)) == {0.0, 1.0}


def test_numbers_fall_into_tenths_of_the_first_window():
    values = np.arange(1000.0)
    bins = numbers(pl.DataFrame({"x": values}), first=1000).bins
    assert np.bincount(bins[:, 0]).tolist() == [100] * BINS


def rotating(days: int, rows: int, seed: int) -> pl.DataFrame:
    """A category with four new names every five days, which alone say what the label mostly is."""
    draw = np.random.default_rng(seed)
    frame = stream(days, rows, seed)
    day = (frame["time"] - START).dt.total_days().to_numpy()
    pick = draw.integers(0, 4, frame.height)
    side = np.random.default_rng(seed + 1).permuted(np.tile([0, 1, 0, 1], (days, 1)), axis=1)[day // 5, pick]
    wrong = draw.random(frame.height) < 0.1
    names = [f"n{block}-{number}" for block, number in zip(day // 5, pick)]
    return frame.with_columns(name=pl.Series(names), label=pl.Series(np.where(side ^ wrong, "yes", "no")))


def test_a_retraining_learns_categories_that_appeared_after_many_others(tmp_path):
    """96 names in 120 days: an encoder that stops at thirty more than the first window's would be blind by day 50."""
    frame = rotating(120, 40, seed=3)
    settings = {"features": ("x", "name"), "label_time": "", "delay": 0.0}
    replay = replay_of(task_of(tmp_path / "h.parquet", frame, **settings))
    fresh = np.array(
        [replay.fitted_by_day[day, day + 1] - replay.fitted_by_day[day, day] for day in range(replay.days)]
    )
    by_weekday = (fresh / replay.rows).reshape(-1, 5).mean(axis=0)
    assert by_weekday[1:].max() < 0.2 < 0.35 < by_weekday[0]
    late = (fresh / replay.rows).reshape(-1, 5)[12:, 1:].mean()
    assert late == pytest.approx((fresh / replay.rows).reshape(-1, 5)[:5, 1:].mean(), abs=0.05)


def test_each_window_sees_the_categories_that_are_frequent_in_it(tmp_path):
    """Against counting the rows of each training window anew."""
    draw = np.random.default_rng(5)
    frame = stream(60, 60, seed=5)
    day = (frame["time"] - START).dt.total_days().to_numpy()
    names = [f"n{number}" for number in (draw.geometric(0.04, frame.height) + day)]
    task = task_of(tmp_path / "h.parquet", frame.with_columns(name=pl.Series(names)), features=("name",))
    history = history_of(task)
    shown = history.features.sum(axis=0)
    assert history.features.shape[1] == history.seen.shape[1] > LEVELS
    named = frame.with_columns(name=pl.Series(names))
    for morning in (10, 25, 59):
        inside = [START + pl.duration(days=morning - 10), START + pl.duration(days=morning)]
        window = named.filter(pl.col("label_time") > inside[0], pl.col("label_time") <= inside[1])
        counts = window["name"].value_counts()["count"].sort(descending=True).to_list()
        rows = np.flatnonzero((history.arrival > morning - 10) & (history.arrival <= morning))
        columns = history.features[rows][:, history.seen[morning]].sum(axis=0)
        assert sorted(columns, reverse=True) == counts[:LEVELS]
    assert shown.min() > 0


def test_more_frequent_categories_than_columns_are_told():
    names = [f"n{number // 2}" for number in range(20 * (MOST + 50))]
    days = np.arange(len(names)) // 20
    made = numbers(pl.DataFrame({"name": names}), first=20, arrival=days, windows=MOST + 40)
    assert made.matrix.shape[1] == MOST
    assert made.notes[0].startswith("name: ") and f"only the first {MOST} of them have columns" in made.notes[0]
    assert set(made.matrix.sum(axis=1)) == {0.0, 1.0} and not made.seen[-1].any()


@pytest.mark.parametrize("kind", ["number", "reversed", "text", "boolean", "several"])
def test_a_copy_of_the_label_is_refused(kind):
    draw = np.random.default_rng(0)
    label = draw.integers(0, 3 if kind == "several" else 2, 500)
    copies = {
        "number": label * 3.0 + 0.1 * draw.random(500),
        "reversed": -label.astype(float),
        "text": np.where(label, "on time", "late"),
        "boolean": label == 1,
        "several": np.array(["x", "y", "z"])[label],
    }
    with pytest.raises(UsageError, match=r"features: 'copy' alone tells the label .*leave it out"):
        refuse_copies(pl.DataFrame({"copy": copies[kind]}), ["copy"], label)


def test_a_strong_feature_is_no_copy():
    draw = np.random.default_rng(1)
    label = draw.integers(0, 2, 1000)
    strong = label ^ (draw.random(1000) < 0.01)
    frame = pl.DataFrame({"strong": strong, "text": strong.astype(str), "id": [f"row {n}" for n in range(1000)]})
    refuse_copies(frame, frame.columns, label)
