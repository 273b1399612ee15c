"""What cannot be watched is refused in words that say what to type."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest
from drift_data import opened, pair, table

from weigh import decide
from weigh.choice import UsageError
from weigh.data import DataError
from weigh.engine.inline import InlineEngine
from weigh.monitor.drift import DriftTask
from weigh.monitor.drift._history import LEVELS, history_of

ROWS = 3000
RNG = np.random.default_rng(0)
GOOD = RNG.normal(size=ROWS)
COLUMNS = {
    "good": GOOD,
    "gappy": np.where(GOOD > 1, np.nan, GOOD),
    "endless": np.where(GOOD > 1, np.inf, GOOD),
    "empty": np.full(ROWS, np.nan),
    "null": pl.Series([None] * ROWS),
    "still": np.full(ROWS, 4.0),
    "word": RNG.choice(["x", "y", "z"], ROWS, p=[0.6, 0.3, 0.1]),
    "one_word": ["x"] * ROWS,
    "flag": GOOD > 0,
    "key": [f"id-{i}" for i in range(ROWS)],
    "day": [date(2013, 1, 1 + i % 28) for i in range(ROWS)],
    "list": [[1.0]] * ROWS,
}


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    return table(tmp_path_factory.mktemp("history"), **COLUMNS)


def test_columns_that_can_be_watched_are_found(history):
    found = history_of(DriftTask(history=history))
    assert found.number_names == ("good", "gappy", "endless")
    assert found.category_names == ("word", "flag")
    assert set(found.unwatched) == {"empty", "null", "still", "one_word", "key", "day", "list"}
    assert np.isnan(found.numbers[:, 2]).sum() == np.isnan(found.numbers[:, 1]).sum() == np.sum(GOOD > 1)


def test_levels_are_coded_from_the_most_frequent_on(history):
    found = history_of(DriftTask(history=history, columns=("word",)))
    assert found.levels == (4,)
    assert np.bincount(found.codes[:, 0]).tolist() == [
        0,
        *sorted(np.unique(COLUMNS["word"], return_counts=True)[1])[::-1],
    ]


def test_rare_levels_share_a_code(tmp_path):
    words = [f"w{i % 59}" if i % 4 == 0 else "often" for i in range(ROWS)]
    found = history_of(DriftTask(history=table(tmp_path, word=[*words, None])))
    assert found.levels == (LEVELS + 2,)
    assert found.codes.max() == LEVELS + 1
    assert found.codes[-1, 0] == 0


@pytest.mark.parametrize(
    "column, said",
    [
        ("empty", "'empty', but it holds no value: leave it out"),
        ("null", "'null', but it holds no value"),
        ("still", "'still', but it is 4 in every row that has a value"),
        ("one_word", "'one_word', but it is 'x' in every row"),
        ("key", "'key', but it is different in nearly every row"),
        ("day", "'day', but its type, Date, is neither a number nor a category"),
        ("list", "'list', but its type, List"),
        ("god", "'god', which this table does not have: did you mean 'good'"),
    ],
)
def test_a_column_that_is_named_must_be_fit(history, column, said):
    with pytest.raises(DataError, match=said):
        opened(history, columns=("good", column))


def test_a_table_without_rows_is_refused(tmp_path):
    with pytest.raises(DataError, match="without rows"):
        opened(table(tmp_path, a=pl.Series([], dtype=pl.Float64)))


def test_a_table_without_columns_to_watch_is_refused(history):
    with pytest.raises(DataError, match=r"no column to watch \('still'"):
        opened(table(history.parent, still=COLUMNS["still"]))


def test_a_file_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        opened(tmp_path / "none.parquet")


@pytest.mark.parametrize("rows, window", [(3000, 2000), (90, 30)])
def test_a_window_larger_than_the_history_is_refused(tmp_path, rows, window):
    with pytest.raises(DataError, match=f"windows of {window:,} rows, but the history has {rows:,}.*take a window of"):
        opened(pair(tmp_path, rows), window=window, reference=10_000)


def test_a_column_that_is_still_in_the_reference_is_refused(tmp_path):
    spike = np.zeros(ROWS)
    spike[0] = 5.0
    with pytest.raises(DataError, match="'spike', where the 200 rows of the reference all have one value"):
        opened(table(tmp_path, a=GOOD, spike=spike), reference=200, window=100)


@pytest.mark.parametrize(
    "time, said",
    [
        ("when", "'when', which this table does not have"),
        ("text", "it is String: convert it"),
        ("gaps", "10 rows have none"),
    ],
)
def test_a_time_must_order_the_rows(tmp_path, time, said):
    gaps = [None if i < 10 else i for i in range(ROWS)]
    path = table(tmp_path, a=GOOD, text=[str(i) for i in range(ROWS)], gaps=gaps)
    with pytest.raises(DataError, match=said):
        opened(path, columns=("a",), time=time)


def test_rows_are_taken_in_order_of_time(tmp_path):
    order = RNG.permutation(ROWS)
    found = history_of(DriftTask(history=table(tmp_path, a=GOOD[order], when=order), time="when"))
    np.testing.assert_array_equal(found.numbers[:, 0], GOOD)
    assert (found.number_names, found.unwatched) == (("a",), {"when": "it orders the history"})
    assert found.moments[:3].to_list() == ["0", "1", "2"]


def test_a_long_history_is_thinned_at_random(tmp_path):
    place = np.arange(50_000.0)
    found = history_of(DriftTask(history=table(tmp_path, place=place), rows=1000))
    assert found.rows == 1000
    assert len(np.unique(found.numbers)) == 1000
    assert found.numbers.mean() == pytest.approx(25_000, abs=2000)


def test_a_csv_is_read_like_a_parquet_file(tmp_path):
    csv = tmp_path / "history.csv"
    pl.DataFrame({"a": [*GOOD[:-1], None], "word": COLUMNS["word"]}).write_csv(csv)
    found = history_of(DriftTask(history=csv))
    assert (found.number_names, found.category_names, found.rows) == (("a",), ("word",), ROWS)


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"calibration": 100}, "100 quiet windows are too few .* type calibration=960 or more"),
        ({"false_alarm": 0.001, "calibration": 2000}, "type calibration=5000 or more"),
        ({"kinds": ["shape"]}, "kinds.0: Input should be 'mean', 'scale', 'mix', 'missing' or 'correlation'"),
        ({"size": "much"}, "size: .*number"),
        ({"sizes": {"mean": -1}}, "sizes.mean"),
        ({"window": 3}, "window: .*greater than or equal to 20"),
        ({"windows": 300}, "task field 'windows' .* did you mean 'window'"),
    ],
)
def test_a_task_that_cannot_be_is_refused(tmp_path, fields, said):
    task = {"history": str(pair(tmp_path)), **fields}
    with pytest.raises(UsageError, match=said):
        decide("monitor/drift", task, ledger=tmp_path / "l.db", records=None, engine=InlineEngine())
