"""What people are shown: the baselines, choosing on the past and living with it, and the curves of the error."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from cadence_streams import FIXED, bench_of, cost, policy, stream, task_of

from weigh.retrain.cadence._build import replay_of


@pytest.fixture(scope="module")
def changing(tmp_path_factory):
    """Nearly still in the first half, turning fast in the second: what was best on the past is wrong afterwards."""
    speeds = np.concatenate([np.full(14 + 7 * 20, 0.001), np.full(7 * 20, 0.05)])
    return bench_of(tmp_path_factory.mktemp("changing") / "h.parquet", speeds, retraining_cost=15.0)


def test_choosing_on_the_past_is_compared_with_living_with_it(changing):
    subjects = {text: changing.prepare(policy(text)) for text in FIXED}
    table = changing.exhibits(subjects)[2]
    found = {row[0]: row for row in table.rows}
    naive, best = found["once, and kept (a backtest)"], found["(best fixed policy in hindsight)"]
    again, schedule = found["as here: lowest cost so far"], found["(best schedule in hindsight)"]
    assert table.always
    assert naive[1] in ("never", "quarterly", "monthly") and best[1] == "weekly"
    assert naive[2] > again[2] > best[2] > schedule[2]
    assert naive[2] > 1.5 * best[2]
    for _, _, cost_a_day, regret, low, high in table.rows:
        assert regret == pytest.approx(cost_a_day - best[2])
        assert low is None or low <= regret <= high
    later = changing.by_block(subjects["weekly"].course.cost(changing.prices))[20:]
    assert best[2] == pytest.approx(later.mean() / 7)


def test_the_baselines_are_printed_whatever_is_raced(changing):
    for raced in ({}, {"weekly": changing.prepare(policy("weekly"))}):
        table = next(each for each in changing.exhibits(raced) if "read against" in each.title)
        found = {name.partition(":")[0]: numbers for name, *numbers in table.rows}
        assert table.always
        frozen, online = found["frozen (never)"], found["online without reset (continuous)"]
        assert frozen[0] == pytest.approx(cost(changing, "never") / changing.replay.days)
        assert online[0] == pytest.approx(cost(changing, "continuous") / changing.replay.days)
        assert found["no change (the last known label)"][3] == pytest.approx(0.5, abs=0.05)
        assert found["best schedule in hindsight"][0] < min(frozen[0], online[0])
        for mean, low, high, error in found.values():
            assert low <= mean <= high and 0 <= error <= 1
    assert next(iter(found)) == "cheapest in hindsight"


def test_the_table_is_sorted_by_what_it_shows(changing):
    table = changing.exhibits({text: changing.prepare(policy(text)) for text in FIXED})[0]
    costs = [row[1] for row in table.rows]
    assert costs == sorted(costs) and {row[0] for row in table.rows} == set(FIXED)
    for _, mean, low, high, error, _, updates, regret, *_ in table.rows:
        assert low <= mean <= high and 0 <= error <= 1 and regret >= 0 == updates
    per_error = changing.scale / 7
    assert f"a cost of 1 a day is {1 / per_error:.3g} errors a prediction" in table.note


def test_curves_show_the_error_over_time_by_age_and_by_delay(changing):
    raced = {text: changing.prepare(policy(text)) for text in ("never", "weekly", "daily")}
    by_time, gained, by_age, by_delay = changing.exhibits(raced)[3:]
    assert len(by_time.lines[0].x) == 40 and by_time.lines[0].x[0] == "2024-01-15"
    assert by_time.lines[0].name == "never" and gained.level == 0.0
    own = {text: changing.by_block(raced[text].course.loss) for text in raced}
    weekly = next(line for line in gained.lines if line.name == "weekly")
    rows = changing.by_block(changing.replay.rows)
    assert weekly.y[30] == pytest.approx((own["weekly"] - own["never"])[27:31].sum() / rows[27:31].sum())
    ages = by_age.lines[0]
    assert ages.x[:4] == (0, 1, 2, 3) and ages.y[0] == 0 and ages.low[7] > 0
    delays = next(line for line in by_delay.lines if line.name == "weekly")
    assert delays.y[0] == 0 and 0 < delays.low[-1] < delays.y[-1]
    assert "Too few such days: never" in by_delay.note


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
