"""The decision: which analysis wins on which task, what is refused, and what the report shows."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
import pytest
from experiment_data import normal_history, normal_task
from pydantic import ValidationError

from weigh import catalog
from weigh.cause.experiment import Analysis, Experiment, Experiments, ExperimentTask, Readings
from weigh.choice import Block, Curves, Table, UsageError
from weigh.data import DataError
from weigh.decision import Decision
from weigh.engine.inline import InlineEngine
from weigh.flow import decide


def race(task: ExperimentTask, folder: Path, options=(), **given) -> Decision:
    ledger = folder / "l.db"
    return decide(
        "cause/experiment", task, options=options, ledger=ledger, records=None, engine=InlineEngine(), **given
    )


@pytest.fixture
def toy(tmp_path) -> ExperimentTask:
    return Experiment().toy(tmp_path / "toy")


def test_read_once_cuped_wins(toy, tmp_path):
    made = race(toy, tmp_path)
    assert (made.verdict, made.chosen) == ("chosen", "cuped")
    assert {made.standing(name).outcome for name in ("welch", "bootstrap", "sequential")} == {"dominated"}


def test_read_daily_only_the_sequential_analyses_are_left(tmp_path):
    made = race(normal_task(tmp_path, effect=1.5), tmp_path)
    assert (made.verdict, made.chosen) == ("chosen", "sequential:covariate=true")
    for name in ("welch", "cuped", "bootstrap"):
        assert made.standing(name).outcome == "violates"
        assert "excess_false_positives" in made.standing(name).why


def test_without_a_past_welch_stays(toy, tmp_path):
    made = race(toy.model_copy(update={"covariate": ""}), tmp_path)
    assert made.chosen == "welch" and made.standing("sequential").outcome == "dominated"
    for name in ("cuped", "sequential:covariate=true"):
        assert made.standing(name).outcome == "failed" and "name its column as 'covariate'" in made.standing(name).why


def test_the_loser_finds_more_and_is_never_chosen(toy, tmp_path):
    loser = Experiment().loser()
    for seed in range(2):
        made = race(toy, tmp_path, [loser, "cuped"], seed=seed)
        standing = made.standing(loser.spec)
        assert standing.outcome == "violates" and made.chosen == "cuped"
        assert standing.measured["power"].estimate > 0.9


def test_twins_are_a_tie(toy, tmp_path):
    for seed in range(2):
        assert race(toy, tmp_path, Experiment().twins(), seed=seed).verdict == "tie"


class Shouting(Analysis):
    """Finds an effect in every experiment, in the direction of a coin: an analysis that does not move with its data."""

    name: ClassVar[str] = "shouting"

    def analyse(self, data: Experiments, alpha: float) -> Readings:
        sign = np.random.default_rng(data.seed).choice([-1.0, 1.0], size=data.shape)
        return Readings(sign, sign - 0.5, sign + 0.5, np.full(data.shape, 1e-9))


class Short(Analysis):
    """Gives one number instead of one for each experiment."""

    name: ClassVar[str] = "short"

    def analyse(self, data: Experiments, alpha: float) -> Readings:
        one = np.zeros(1)
        return Readings(one, one, one, one)


def test_what_it_finds_must_have_the_right_sign(toy):
    bench = Experiment().open(toy, 0)
    values = bench.trial(bench.prepare(Shouting()), Block(index=0, seed=3))
    assert np.mean(values["false_positives"]) == 1.0 and 0.3 < np.mean(values["power"]) < 0.7


def test_an_analysis_of_the_wrong_shape_is_told_which_is_right(toy):
    with pytest.raises(TypeError, match=r"short gave 'effect' of shape \(1,\).*\(100, 1\)"):
        Experiment().open(toy, 0).prepare(Short())


@pytest.mark.parametrize("looks", ["end", "daily"])
def test_exhibits_show_errors_and_power(tmp_path, looks):
    bench = Experiment().open(normal_task(tmp_path, looks=looks, units=200, effect=4.0), 0)
    names = ("welch", "cuped", "sequential")
    subjects = {name: catalog.find(Experiment(), name) for name in names} | {"shouting": Shouting()}
    summary, false, power, facts = bench.exhibits(subjects)
    assert isinstance(summary, Table) and isinstance(false, Curves) and isinstance(power, Curves)
    assert [row[0] for row in summary.rows] == [*names, "shouting"]
    by_name = {line.name: line for line in (*false.lines, *power.lines)}
    curves = {line.name: line.y for line in false.lines}
    assert curves["welch"][-1] > 0.18 > 0.06 > curves["sequential"][-1] and curves["shouting"] == (1.0,) * 28
    assert all(later >= earlier for y in curves.values() for earlier, later in pairwise(y))
    found = {line.name: line.y for line in power.lines}
    assert found["welch"][0] < 0.25 and found["cuped"][4] > 0.9 and 0.3 < found["shouting"][4] < 0.7
    assert all(low <= y <= high for line in by_name.values() for low, y, high in zip(line.low, line.y, line.high))
    units = pl.read_parquet(bench.task.history)
    correlation = np.corrcoef(units["spend"], units["before"])[0, 1]
    assert dict(facts.rows)["variance that CUPED takes away"] == f"{correlation**2:.1%}"
    smallest = dict(zip(names, (row[6] for row in summary.rows)))
    assert smallest["cuped"] < smallest["welch"]


def test_nobody_is_shown_daily_looks_at_units_with_rows_on_several_days(tmp_path):
    path = history(tmp_path, m=NUMBERS * 2, u=[*range(200)] * 2, d=[0] * 200 + [1] * 200)
    task = ExperimentTask(history=path, metric="m", unit="u", time="d", days=2, effect=1.0)
    summary, power, _ = Experiment().open(task, 0).exhibits({"welch": catalog.find(Experiment(), "welch")})
    assert not any("daily" in column for column in summary.columns) and power.lines


# what is refused


def history(folder: Path, **columns: object) -> Path:
    path = folder / "h.parquet"
    pl.DataFrame(columns).write_parquet(path)
    return path


NUMBERS = np.random.default_rng(0).normal(size=200).tolist()


@pytest.mark.parametrize(
    "columns, given, text",
    [
        ({"m": NUMBERS}, {"metric": "n"}, "column 'n'"),
        ({"m": [None] * 99 + [None]}, {}, "none of its 100 rows holds a value"),
        ({"m": [float("nan")] * 100}, {}, "none of its 100 rows holds a value"),
        ({"m": [3.0] * 100}, {}, "'m' is 3 for every unit"),
        ({"m": [3.0]}, {}, "1 unit with a value of 'm'"),
        ({"m": NUMBERS[:30]}, {}, "at most 30 units in 28 days"),
        ({"m": ["a", "b"] * 50}, {}, "'m' as a number, but it is String"),
        ({"m": pl.Series([], dtype=pl.Float64)}, {}, "table without rows"),
        ({"m": [*NUMBERS, float("inf")]}, {}, "'m' holds infinite values"),
        ({"m": NUMBERS}, {"covariate": "m"}, "both as the metric and as the covariate"),
        ({"m": NUMBERS, "c": [2 * x for x in NUMBERS]}, {"covariate": "c"}, "says the same as 'm'"),
        ({"m": NUMBERS, "c": [1.0] * 200}, {"covariate": "c"}, "'c' is 1 for every unit"),
        ({"m": NUMBERS, "d": [i % 5 for i in range(200)]}, {"time": "d"}, "spans 5 days by 'd', .* set days=5"),
        ({"m": NUMBERS, "d": [*range(199), None]}, {"time": "d"}, "1 rows have no 'd'"),
        ({"m": NUMBERS, "d": NUMBERS}, {"time": "d"}, "'d' as a time, but it is Float64"),
        ({"m": NUMBERS, "u": [1] * 200}, {"unit": "u"}, "1 unit with a value of 'm'"),
        (
            {"m": NUMBERS, "u": [i // 4 for i in range(200)], "d": [i % 4 for i in range(200)]},
            {"unit": "u", "time": "d", "days": 4, "looks": "daily"},
            "50 units of 'u' have rows on several days.*or type looks=end",
        ),
    ],
)  # fmt: skip
def test_a_history_without_experiments_is_refused_in_words(tmp_path, columns, given, text):
    task = ExperimentTask.model_validate(
        {"history": history(tmp_path, **columns), "metric": "m", "effect": 1.0} | given
    )
    with pytest.raises((UsageError, DataError), match=text):
        Experiment().open(task, 0)


def test_a_relative_effect_of_a_mean_of_nothing_is_refused(tmp_path):
    path = history(tmp_path, m=[-1.0, 1.0] * 100)
    with pytest.raises(UsageError, match="0 on average"):
        Experiment().open(ExperimentTask(history=path, metric="m", effect=0.1, relative=True), 0)


@pytest.mark.parametrize(
    "field, value", [("effect", 0.0), ("effect", float("nan")), ("days", 0), ("share", 1.0), ("alpha", 0.6)]
)
def test_settings_of_no_experiment_are_refused(field, value):
    with pytest.raises(ValidationError, match=field):
        ExperimentTask.model_validate({"history": "h.parquet", "metric": "m", "effect": 1.0} | {field: value})


def test_a_relative_effect_is_a_share_of_the_mean(tmp_path):
    path = normal_history(tmp_path)
    share = ExperimentTask(history=path, metric="spend", effect=0.02, relative=True)
    bench = Experiment().open(share, 0)
    assert bench.effect == pytest.approx(0.02 * bench.history.mean / bench.history.deviation)


def test_what_was_left_out_is_said(tmp_path):
    days = list(range(60))
    path = history(tmp_path, m=[None, *(float(i % 11) for i in range(1199))], d=[days[i % 60] for i in range(1200)])
    bench = Experiment().open(ExperimentTask(history=path, metric="m", time="d", effect=1.0, days=28), 0)
    assert bench.history.left_out == "80 rows before the first whole period"
    again = Experiment().open(ExperimentTask(history=path, metric="m", effect=1.0), 0)
    assert again.history.left_out == "1 rows without m"
