"""The chosen test at work: new tables, and drift month by month."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from drift_data import table

from weigh.choice import UsageError
from weigh.data import DataError
from weigh.monitor.drift import DriftTask, drift_by_month, watch
from weigh.monitor.drift.domain_classifier import DomainClassifier
from weigh.monitor.drift.mean_shift import MeanShift
from weigh.monitor.drift.mmd import Mmd
from weigh.monitor.drift.psi import Psi

HOURS, WINDOW = 24 * 150, 72
COLUMNS = ("steady", "rising", "kind", "gone")


@pytest.fixture(scope="module")
def year(tmp_path_factory):
    """Five months by the hour: `rising` moves from April on, `gone` is empty in May; and one row of June."""
    rng = np.random.default_rng(0)
    hours = [datetime(2021, 1, 1) + timedelta(hours=hour) for hour in range(HOURS)]
    hours.append(datetime(2021, 6, 1))
    month = np.array([hour.month for hour in hours])
    count = len(hours)
    return table(
        tmp_path_factory.mktemp("year"),
        when=hours,
        steady=rng.normal(size=count),
        rising=rng.normal(size=count) + np.where(month >= 4, 1.5, 0.0),
        kind=rng.choice(["a", "b", "c"], count),
        gone=np.where(month == 5, np.nan, rng.normal(size=count)),
        late=np.where(month >= 4, rng.normal(size=count), 1.0),
    )


def by_month(year, test, columns=COLUMNS, **fields):
    asked = {"until": "2021-03-15", "window": WINDOW, "false_alarm": 0.1} | fields
    return drift_by_month(test, year, columns, "when", **asked)


@pytest.mark.parametrize("test", [MeanShift(), Psi(), DomainClassifier(), Mmd()], ids=lambda test: test.name)
def test_months_alarm_where_a_column_moved_and_nowhere_else(year, test):
    """Whether a test scores each column or all at once, which is then fitted to each."""
    found = by_month(year, test)
    lines = {line.name: dict(zip(line.x, line.y)) for line in found.lines}
    assert found.level == 1.0
    assert list(lines["steady"]) == ["2021-01", "2021-02", "2021-03", "2021-04", "2021-05"]
    assert all(value < 1 for value in lines["steady"].values())
    assert all((lines["rising"][month] > 1) == (month >= "2021-04") for month in lines["rising"])
    assert "Fewer rows than a window has: 2021-06." in found.note
    if test.name == "mean_shift":
        assert lines["gone"]["2021-05"] is None and "kind" not in lines
        assert "kind (mean_shift does not read it)" in found.note
    if test.name == "psi":
        assert lines["gone"]["2021-05"] > 1


def test_a_column_that_did_not_vary_before_is_named_and_not_scored(year):
    found = by_month(year, MeanShift(), ("steady", "late"))
    assert [line.name for line in found.lines] == ["steady"]
    assert "Not scored: late (" in found.note


def test_a_threshold_of_its_own_is_what_months_are_held_against(year):
    (line,) = by_month(year, MeanShift(threshold=3.0), ("rising",)).lines
    twice = by_month(year, MeanShift(threshold=6.0), ("rising",)).lines[0]
    np.testing.assert_allclose(line.y, 2 * np.array(twice.y))


def test_what_cannot_be_drawn_by_month_is_refused(year, tmp_path):
    with pytest.raises(UsageError, match="until='June' is no date"):
        by_month(year, MeanShift(), until="June")
    with pytest.raises(UsageError, match="no row lies before 2020-01-01; the first is of 2021-01-01"):
        by_month(year, MeanShift(), until="2020-01-01")
    with pytest.raises(DataError, match=r"windows of 72 consecutive rows .* 19 are needed"):
        by_month(year, MeanShift(), until="2021-01-20", false_alarm=0.05)
    numbers = table(tmp_path, a=np.random.default_rng(0).normal(size=500), when=np.arange(500))
    with pytest.raises(UsageError, match=r"the column of time holds no dates .the first is 0\)"):
        drift_by_month(MeanShift(), numbers, ["a"], "when", until="2021-01-01")


@pytest.fixture(scope="module")
def watcher(year):
    history = pl.read_parquet(year).filter(pl.col("when") < datetime(2021, 3, 15))
    task = DriftTask(history=table(year.parent, **history.to_dict()), time="when", window=WINDOW, false_alarm=0.1)
    return watch(task, Psi())


def test_a_new_table_is_judged_column_by_column(year, watcher):
    new = pl.read_parquet(year).filter(pl.col("when") >= datetime(2021, 3, 20))
    quiet, moved = watcher.score(new.head(WINDOW)), watcher.score(new.tail(WINDOW + 1).head(WINDOW))
    assert not quiet.alarm and quiet.rating <= quiet.level
    assert moved.alarm and moved.rating > moved.level
    worst = list(moved.columns)
    assert worst[0] in ("rising", "gone") and set(worst) == {"steady", "rising", "kind", "gone"}
    assert moved.columns[worst[0]] == pytest.approx(moved.rating / moved.level)


def test_levels_that_the_history_lacks_are_drift(year, watcher):
    new = pl.read_parquet(year).filter(pl.col("when") >= datetime(2021, 3, 20)).head(WINDOW)
    assert next(iter(watcher.score(new.with_columns(kind=pl.lit("new"))).columns)) == "kind"


def test_a_table_that_is_no_window_is_refused(year, watcher):
    new = pl.read_parquet(year).head(WINDOW)
    with pytest.raises(UsageError, match="a table of 10 rows, but the level was calibrated on windows of 72"):
        watcher.score(new.head(10))
    with pytest.raises(DataError, match="'steady' as String, but the history holds numbers"):
        watcher.score(new.with_columns(pl.col("steady").cast(pl.String)))
    with pytest.raises(DataError, match="'kind'"):
        watcher.score(new.drop("kind"))
