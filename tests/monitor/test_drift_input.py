"""What cannot be watched is refused in words that say what to type."""

from __future__ import annotations

import re
from datetime import date

import numpy as np
import polars as pl
import pytest
from drift_data import opened, pair, table

from weigh import decide
from weigh.choice import UsageError
from weigh.data import DataError
from weigh.engine.inline import InlineEngine
from weigh.monitor.drift import DriftTask, Sample
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
def test_a_window_larger_than_the_history_allows_is_refused(tmp_path, rows, window):
    with pytest.raises(DataError, match=f"windows of {window:,} rows, but the history has {rows:,}.*Take a window of"):
        opened(pair(tmp_path, rows), window=window, reference=10_000)


@pytest.mark.parametrize("fields", [{}, {"time": "at"}, {"time": "at", "stretch": 50}])
def test_what_the_refusal_says_to_type_works(tmp_path, fields):
    path, asked = table(tmp_path, a=GOOD, at=np.arange(ROWS)), {"columns": ("a",), "reference": 500, **fields}
    with pytest.raises(DataError) as refused:
        opened(path, window=400, **asked)
    smaller = int(re.findall(r"(?:window=|a window of )(\d+)", str(refused.value))[-1])
    assert opened(path, window=smaller, **asked).splits
    more = int(re.findall(r"(?:give|history of) ([\d,]+) rows or more", str(refused.value))[-1].replace(",", ""))
    grown = table(tmp_path, a=np.resize(GOOD, more), at=np.arange(more))
    assert opened(grown, window=400, **asked).splits


def test_too_few_windows_of_consecutive_rows_are_refused(tmp_path):
    path = table(tmp_path, a=GOOD, at=np.arange(ROWS))
    with pytest.raises(
        DataError, match=r"windows of 200 consecutive rows .* 0.05 .* 19 are needed: .*false_alarm=.*stretch="
    ):
        opened(path, time="at", columns=("a",), window=200)
    assert opened(path, time="at", columns=("a",), window=200, false_alarm=0.2).splits[0].whole


def test_a_stretch_longer_than_a_window_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match="stretch of 300 rows is longer than a window of 200: type stretch=200 or less"
    ):
        opened(pair(tmp_path), window=200, stretch=300)


def test_a_column_that_is_still_in_the_reference_is_refused_when_named(tmp_path, monkeypatch):
    monkeypatch.setattr("weigh.monitor.drift._split.DRAWS", 1)
    spike = np.zeros(ROWS)
    spike[0] = 5.0
    path = table(tmp_path, a=GOOD, spike=spike)
    with pytest.raises(DataError, match="'spike', where the 200 rows of the reference all have one value"):
        opened(path, reference=200, window=100, columns=("a", "spike"))
    left = opened(path, reference=200, window=100).history
    assert left.names == ("a",) and "the 200 rows of a reference" in left.unwatched["spike"]


def test_a_reference_is_drawn_again_until_rare_columns_vary_in_it(tmp_path):
    """Rain on a tenth of the days: most references of two days have some, not all."""
    rain = np.where(np.arange(ROWS) // 50 % 5 == 0, GOOD, 0.0)
    for seed in range(4):
        bench = opened(
            table(tmp_path, rain=rain, at=np.arange(ROWS)), seed, time="at", columns=("rain",), window=50, reference=100
        )
        assert np.ptp(bench.references[0].numbers[0]) > 0


def test_integers_may_be_categories_and_keys_are_no_numbers(tmp_path):
    path = table(tmp_path, a=GOOD, code=RNG.integers(0, 5, ROWS), row=np.arange(ROWS))
    found = history_of(DriftTask(history=path, categories=("code",)))
    assert (found.number_names, found.category_names, found.levels) == (("a",), ("code",), (6,))
    assert "row by row" in found.unwatched["row"]
    with pytest.raises(DataError, match="'row', but it only rises or falls"):
        history_of(DriftTask(history=path, columns=("a", "row")))
    with pytest.raises(DataError, match="'cod', which this table does not have"):
        history_of(DriftTask(history=path, categories=("cod",)))


def test_a_category_whose_levels_are_all_rare_is_no_category(tmp_path):
    found = history_of(DriftTask(history=table(tmp_path, a=GOOD, name=[f"n{i % 400}" for i in range(ROWS)])))
    assert "cover 8% of the rows" in found.unwatched["name"]


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


def test_of_a_long_history_in_time_the_latest_rows_are_held(tmp_path):
    when = RNG.permutation(50_000)
    found = history_of(DriftTask(history=table(tmp_path, place=when * 1.0, when=when), rows=1000, time="when"))
    np.testing.assert_array_equal(found.numbers[:, 0], np.arange(49_000, 50_000))


@pytest.mark.parametrize("kind", [pl.Date, pl.Datetime, pl.Int64])
def test_days_dates_and_numbers_order_a_history(tmp_path, kind):
    rng, days = np.random.default_rng(0), np.arange(6000) // 10
    path = table(
        tmp_path,
        y=rng.normal(size=6000),
        day=pl.Series(days).cast(pl.Int32).cast(pl.Date if kind != pl.Int64 else kind).cast(kind),
    )
    held = history_of(DriftTask(history=path, columns=("y",), time="day", window=100, reference=500, rows=4000))
    assert held.moments[0].startswith("200" if kind == pl.Int64 else "1970-07-20") and len(held.moments) == 4000


def test_a_history_with_rows_of_no_time_is_refused_however_long(tmp_path):
    path = table(tmp_path, y=np.zeros(6000), day=[None, *range(5999)])
    with pytest.raises(DataError, match="1 rows have none"):
        history_of(DriftTask(history=path, columns=("y",), time="day", window=100, reference=500, rows=4000))


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
        ({"kinds": ["shape"]}, "there is no value 'shape' of kinds; did you mean 'scale'"),
        ({"size": "much"}, "size must be a number, not 'much'"),
        ({"sizes": {"mean": -1}}, "sizes.mean"),
        ({"window": 3}, "window must be at least 20, not 3"),
        ({"windows": 300}, "task field 'windows' .* did you mean 'window'"),
    ],
)
def test_a_task_that_cannot_be_is_refused(tmp_path, fields, said):
    task = {"history": str(pair(tmp_path)), **fields}
    with pytest.raises(UsageError, match=said):
        decide("monitor/drift", task, ledger=tmp_path / "l.db", records=None, engine=InlineEngine())


def test_no_test_writes_into_the_rows_that_all_read():
    window = Sample(np.ones((1, 4)), np.zeros((0, 4), dtype=np.int64), ())
    with pytest.raises(ValueError, match="read-only"):
        window.shared().numbers[:] = 0
    assert window.numbers.sum() == 4
