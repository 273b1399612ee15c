"""Histories and estimators that cannot be replayed: the message says what was done, why not, and what to type."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from cadence_streams import START, stream, task_of

from weigh.choice import UsageError
from weigh.data import DataError
from weigh.retrain.cadence import CadenceChoice
from weigh.retrain.cadence._build import replay_of

FRAME = stream(60, 10, seed=0)


@pytest.fixture
def refusal(tmp_path):
    """What opening a task says, given changes to the table and to the settings."""

    def say(frame: pl.DataFrame = FRAME, error: type[Exception] = UsageError, **changes) -> str:
        with pytest.raises(error) as raised:
            CadenceChoice().open(task_of(tmp_path / "h.parquet", frame, **changes), seed=0)
        return str(raised.value)

    return say


def test_an_unsorted_history(refusal):
    assert '.sort("time")' in refusal(FRAME.reverse(), DataError)


def test_a_key_that_repeats(refusal):
    keyed = FRAME.with_columns(id=pl.int_range(pl.len()) // 2)
    assert "'id'" in refusal(keyed, DataError, key="id")


def test_a_label_column_without_values(refusal):
    assert "'label'" in refusal(FRAME.with_columns(label=pl.lit(None, pl.String)), DataError)


def test_a_column_that_does_not_exist(refusal):
    assert "did you mean 'label'" in refusal(error=DataError, label="labels")


def test_times_that_are_texts(refusal):
    assert "str.to_datetime" in refusal(FRAME.with_columns(pl.col("time").cast(pl.String)), DataError)


def test_a_missing_time(refusal):
    gap = FRAME.with_columns(time=pl.when(pl.int_range(pl.len()) == 0).then(None).otherwise("time"))
    assert "'time' is empty in 1 rows" in refusal(gap)


def test_a_label_that_is_a_feature(refusal):
    assert "known only after the prediction" in refusal(features=("x", "label"))


def test_a_label_known_before_its_prediction(refusal):
    text = refusal(FRAME.with_columns(label_time=pl.col("time") - pl.duration(hours=1)))
    assert "600 labels are known before their prediction" in text and "swap the columns" in text


def test_a_label_without_the_moment_of_its_arrival(refusal):
    gap = FRAME.with_columns(label_time=pl.when(pl.int_range(pl.len()) > 7).then("label_time"))
    assert "empty in 8 rows that have a label" in refusal(gap)


def test_times_of_which_one_has_a_zone(refusal):
    text = refusal(FRAME.with_columns(pl.col("label_time").dt.replace_time_zone(None)))
    assert "'label_time' has no time zone and the other has one" in text and "replace_time_zone" in text


def test_a_feature_that_is_the_label_under_another_name(refusal):
    assert "'copy' alone tells the label" in refusal(
        FRAME.with_columns(copy=pl.col("label").str.to_uppercase()), features=("x", "copy")
    )


def test_a_label_that_is_a_quantity(refusal):
    assert "cut the number into ranges" in refusal(FRAME.with_columns(label=pl.col("x")))


def test_a_first_window_of_one_class(refusal):
    early = pl.col("time") < START + pl.duration(days=15)
    one = FRAME.with_columns(label=pl.when(early).then(pl.lit("no")).otherwise("label"))
    assert "before the morning of 2024-01-11, only the label 'no' has arrived" in refusal(one)


def test_labels_that_arrive_after_the_first_fit(refusal):
    text = refusal(label_time="", delay=30.0)
    assert "before the morning of 2024-01-11, no label at all has arrived" in text and "raise train_days" in text


def test_a_window_longer_than_the_history(refusal):
    text = refusal(train_days=90)
    assert "covers 60 days, of which 90 come before the replay: 0 are left" in text and "lower train_days" in text


def test_too_few_blocks_also_where_all_is_fitted_already(tmp_path):
    task = task_of(tmp_path / "h.parquet", FRAME)
    CadenceChoice().open(task, seed=0)
    with pytest.raises(UsageError, match="6 blocks of 28 days are the least"):
        CadenceChoice().open(task.model_copy(update={"block_days": 28}), seed=0)


def test_one_block_that_outweighs_all_others(refusal):
    crowd = pl.concat([FRAME, *[FRAME.filter(pl.col("time") > START + pl.duration(days=58))] * 400]).sort("time")
    assert "would decide alone" in refusal(crowd, block_days=2)


def test_a_feature_that_is_a_date(refusal):
    assert "its weekday, its hour" in refusal(FRAME.with_columns(born=pl.col("time")), features=("x", "born"))


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"estimator": "LogisticRegression"}, "type module:Class"),
        ({"estimator": "sklearn.linear:LogisticRegression"}, "no module 'sklearn.linear'"),
        ({"estimator": "sklearn.linear_model:LogisticRegresion"}, "did you mean 'LogisticRegression'"),
        ({"estimator": "sklearn.linear_model:LinearRegression", "params": {}}, "no scikit-learn classifier"),
        ({"estimator": "sklearn:__version__", "params": {}}, "is a str; type a class"),
        ({"estimator": "pathlib:Path", "params": {}}, "no scikit-learn classifier"),
        ({"params": {"slover": "lbfgs"}}, "did you mean 'solver'"),
        ({"params": {"C": -1.0}}, "cannot be fitted: The 'C' parameter"),
        ({"estimator": "sklearn.svm:LinearSVC", "params": {}, "loss": "brier"}, "no predict_proba; type loss: error"),
        ({"online": "sklearn.tree:DecisionTreeClassifier"}, "no partial_fit"),
    ],
)
def test_an_estimator_that_will_not_do(refusal, changes, says):
    assert says in refusal(**changes)


def test_rows_without_a_label_are_left_out_of_fits_and_losses_but_seen_as_inputs(tmp_path):
    draw = np.random.default_rng(0)
    gaps = FRAME.with_columns(label=pl.when(pl.Series(draw.random(FRAME.height) < 0.8)).then("label"))
    replay = replay_of(task_of(tmp_path / "h.parquet", gaps))
    replayed = pl.col("time") >= START + pl.duration(days=10)
    assert replay.rows.sum() == gaps.filter(replayed)["label"].count() < gaps.filter(replayed).height
    assert replay.by_day[-1][: replay.feature_starts[1]].sum() == gaps.height


@pytest.mark.parametrize("kind", ["bool", "int", "float", "categorical"])
def test_labels_of_any_kind(tmp_path, kind):
    yes = pl.col("label") == "yes"
    as_kind = {
        "bool": yes,
        "int": yes.cast(pl.Int8),
        "float": pl.when(pl.int_range(pl.len()) % 50 == 0).then(float("nan")).otherwise(yes.cast(pl.Float64)),
        "categorical": pl.col("label").cast(pl.Categorical),
    }
    replay = replay_of(task_of(tmp_path / "h.parquet", FRAME.with_columns(label=as_kind[kind])))
    missing = 12 if kind == "float" else 0
    assert replay.rows.sum() + (replay.by_arrival[10][: replay.feature_starts[1]]).sum() <= FRAME.height - missing
    assert 0 < np.diff(replay.fitted_by_day[0]).sum() < 0.5 * replay.rows.sum()


def test_three_classes_and_texts_and_a_function_that_makes_a_pipeline(tmp_path):
    other = pl.Series(np.random.default_rng(0).random(FRAME.height) < 0.03)
    three = FRAME.with_columns(label=pl.col("group"), twin=pl.when(other).then(pl.lit("a")).otherwise("group"))
    task = task_of(
        tmp_path / "h.csv.parquet", three, features=("x", "twin"), estimator="test_cadence_task:pipeline", params={}
    )
    for loss in ("error", "brier", "log"):
        replay = replay_of(task.model_copy(update={"loss": loss}))
        assert np.diff(replay.fitted_by_day[0]).sum() < 0.1 * replay.rows.sum()
        assert replay.learner == "SGDClassifier, another model than Pipeline"


def pipeline() -> Any:
    """A classifier as a user's own function makes it."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=100.0))


def test_fits_that_do_not_converge_are_told_in_the_table(tmp_path):
    bench = CadenceChoice().open(task_of(tmp_path / "h.parquet", FRAME, params={"max_iter": 1}), seed=0)
    policies = {"never": bench.prepare(CadenceChoice().twins()[0])}
    assert "50 times: ConvergenceWarning" in bench.exhibits(policies)[0].note


def test_days_without_rows_are_replayed(tmp_path):
    weekdays = FRAME.filter(pl.col("time").dt.weekday() < 6)
    bench = CadenceChoice().open(task_of(tmp_path / "h.parquet", weekdays, block_days=1), seed=0)
    policy = bench.prepare(CadenceChoice().twins()[0])
    empty = np.flatnonzero(bench.replay.rows == 0)
    assert len(empty) == 14 and all(policy.errors[day] == [] for day in empty)
    assert policy.course.loss[empty].sum() == 0
