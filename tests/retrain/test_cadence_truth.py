"""The replay against truths found otherwise: a plain loop, enumeration, closed forms, simulated streams."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from cadence_streams import START, Counting, PlainReplay, random_replay, stream, task_of
from hypothesis import given, settings
from hypothesis import strategies as st

from weigh.retrain.cadence import CadenceChoice, CadenceTask
from weigh.retrain.cadence._build import replay_of
from weigh.retrain.cadence._clairvoyant import clairvoyant
from weigh.retrain.cadence._toy import turning
from weigh.retrain.cadence._walk import Prices, course_of, follow, losses_on, unchanged_course
from weigh.retrain.cadence.daily import Daily
from weigh.retrain.cadence.every import Every
from weigh.retrain.cadence.never import Never
from weigh.retrain.cadence.on_error import OnError
from weigh.retrain.cadence.weekly import Weekly


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return task_of(tmp_path_factory.mktemp("small") / "h.parquet", stream(60, 25, seed=1, drift=0.05))


POLICIES = [Never(), Daily(), Weekly(), Every(days=5), OnError(rise=0.02, sigmas=0.5, days=3, memory=9, rest=2)]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.spec)
def test_a_replay_equals_a_plain_loop_that_shares_no_fit(small, policy):
    course = follow(replay_of(small), policy.act, seed=0)
    plain = PlainReplay(small).run(policy.act)
    np.testing.assert_array_equal(course.loss, plain)
    assert plain.sum() > 0


@pytest.mark.parametrize("loss", ["brier", "log"])
def test_probabilities_are_scored_as_in_a_plain_loop(small, loss):
    task = small.model_copy(update={"loss": loss})
    course = follow(replay_of(task), Weekly().act, seed=0)
    np.testing.assert_allclose(course.loss, PlainReplay(task, loss).run(Weekly().act), rtol=1e-4, atol=1e-4)


def test_never_equals_training_once(small):
    plain = PlainReplay(small)
    model = plain.fit(0)
    rows = np.flatnonzero(plain.time >= plain.midnight(plain.start))
    assert follow(replay_of(small), Never().act, seed=0).loss.sum() == plain.lose(model, rows).sum()


def test_each_window_is_fitted_once_for_all_policies_and_prices(tmp_path):
    counting = {"estimator": "cadence_streams:Counting", "params": {}}
    task = task_of(tmp_path / "h.parquet", stream(60, 10, seed=2), **counting)
    Counting.fits = 0
    for price in (1.0, 5.0):
        bench = CadenceChoice().open(task.model_copy(update={"retraining_cost": price}), seed=0)
        for policy in POLICIES:
            bench.prepare(policy)
    assert Counting.fits == bench.replay.days == 50


def test_a_pass_that_was_stopped_goes_on_where_it_was(tmp_path):
    counting = {"estimator": "cadence_streams:Counting", "params": {"C": 2.0}}
    task = task_of(tmp_path / "h.parquet", stream(60, 10, seed=3), **counting)
    Counting.fits, Counting.fail_at = 0, 21
    with pytest.raises(MemoryError):
        replay_of(task)
    Counting.fail_at, done = 0, Counting.fits - 1
    whole = replay_of(task)
    assert 20 <= done < 50 and Counting.fits - 1 == 50
    fresh = task_of(tmp_path / "again.parquet", stream(60, 10, seed=3), params={"C": 2.0})
    np.testing.assert_array_equal(whole.fitted, replay_of(fresh).fitted)


def test_labels_are_not_used_before_they_arrive(tmp_path):
    """Turning every label that arrives after a morning must change no model that was made until then."""
    frame = stream(60, 25, seed=4, delay=(0.1, 20.0))
    morning = 40
    late = pl.col("label_time") > START + pl.duration(days=morning)
    other = pl.when(pl.col("label") == "yes").then(pl.lit("no")).otherwise(pl.lit("yes"))
    turned = frame.with_columns(label=pl.when(late).then(other).otherwise("label"))
    before, after = (
        replay_of(task_of(tmp_path / f"{name}.parquet", table)) for name, table in (("a", frame), ("b", turned))
    )
    number = morning - before.start
    known = before.cell_arrival <= number
    days = np.repeat(np.arange(before.days), np.diff(before.cell_starts))
    served = np.arange(number + 1)[:, None] <= days
    assert (frame["label"] != turned["label"]).sum() > 300
    for table in ("fitted", "online"):
        one, other = getattr(before, table)[: number + 1], getattr(after, table)[: number + 1]
        np.testing.assert_array_equal(one[:, known], other[:, known])
        right = (before.cell_rows - one) * served
        np.testing.assert_array_equal(other[:, ~known], right[:, ~known])


@given(st.integers(0, 10_000), st.floats(0, 30), st.floats(0, 30), st.booleans())
@settings(max_examples=25)
def test_no_schedule_beats_the_clairvoyant_one(seed, retraining, update, online):
    replay, prices = random_replay(6, seed, online), Prices(1.0, retraining, update)
    totals = []
    for kinds in itertools.product("kru" if online else "kr", repeat=5):
        made, incremental, changed = [0], [False], [False]
        for number, kind in enumerate(kinds, start=1):
            made.append(made[-1] if kind == "k" else number)
            incremental.append(incremental[-1] if kind == "k" else kind == "u")
            changed.append(kind != "k")
        course = course_of(replay, np.array(made), np.array(incremental), np.array(changed))
        totals.append(course.cost(prices).sum())
    assert clairvoyant(replay, prices).cost(prices).sum() == pytest.approx(min(totals))


def test_the_regret_of_every_policy_is_at_least_zero(small):
    bench = CadenceChoice().open(small, seed=3)
    best = bench.best.cost(bench.prices).sum()
    for option in [*POLICIES, *CadenceChoice().twins(), CadenceChoice().loser()]:
        assert bench.prepare(option).course.cost(bench.prices).sum() >= best - 1e-9


def test_no_change_is_as_good_as_the_stream_is_sticky(tmp_path):
    """Labels that stay what they are with probability 0.85 are told by the last one 85 % of the time (as on Elec2)."""
    frame = stream(60, 40, seed=5)
    draw = np.random.default_rng(5)
    sticky = np.cumsum(draw.random(frame.height) < 0.15) % 2
    frame = frame.with_columns(label=pl.Series(np.where(sticky, "yes", "no")), label_time=pl.col("time"))
    replay = replay_of(task_of(tmp_path / "h.parquet", frame))
    accuracy = 1 - unchanged_course(replay).loss.sum() / replay.rows.sum()
    assert accuracy == pytest.approx(0.85, abs=0.015)
    known = frame.filter(pl.col("time") >= START + pl.duration(days=10))
    assert unchanged_course(replay).loss.sum() == (frame["label"] != frame["label"].shift(1))[-known.height :].sum()


def test_a_day_of_zero_delay_does_not_know_its_own_labels(tmp_path):
    """With dates instead of moments and no delay, what a day says is known on the next morning at the earliest."""
    frame = stream(60, 25, seed=6).with_columns(pl.col("time").dt.date())
    replay = replay_of(task_of(tmp_path / "h.parquet", frame, label_time=""))
    assert (replay.cell_arrival == np.arange(replay.days) + 1).all()


@pytest.fixture(scope="module")
def turned(tmp_path_factory):
    """A steady turn by which the error of a model grows by 0.02 a day; each test sets the price of a retraining."""
    path = turning(tmp_path_factory.mktemp("turn") / "h.parquet", [0.02 * np.pi] * 210, rows=60, noise=0.0, seed=1)
    settings = {"train_days": 5, "start_days": 10, "params": {"fit_intercept": False, "C": 100.0}}
    return CadenceTask(history=path, time="time", label="label", features=("x0", "x1"), retraining_cost=0.0, **settings)


def test_a_model_ages_as_fast_as_the_boundary_turns(turned):
    replay = replay_of(turned)
    days = np.arange(20, replay.days)
    none = np.zeros(replay.days, dtype=bool)
    errors = []
    for age in range(6, 17):
        made = np.maximum(np.arange(replay.days) - age, 0)
        errors.append(losses_on(replay, made, none)[days].sum() / replay.rows[days].sum())
    assert np.polyfit(range(11), errors, 1)[0] == pytest.approx(0.02, rel=0.07)
    assert np.corrcoef(range(11), errors)[0, 1] > 0.999


@pytest.mark.parametrize("period", [3, 6, 10])
def test_the_best_period_obeys_the_square_root_law(turned, period):
    """At a price of n r T^2 / 2 the best period is T; costs near it are flat, so that neighbours are as good."""
    price = 60 * 0.02 * period**2 / 2
    replay, prices = replay_of(turned), Prices(1.0, price, price)
    costs = {days: follow(replay, Every(days=days).act, 0).cost(prices).mean() for days in range(1, 21)}
    best = min(costs, key=costs.__getitem__)
    assert 0.65 * period <= best <= 1.5 * period
    assert costs[period] == pytest.approx(costs[best], rel=0.02)
    own = {days: 60 * 0.02 * (days - 1) / 2 + price / days for days in (period, 2 * period)}
    assert costs[2 * period] - costs[period] == pytest.approx(own[2 * period] - own[period], rel=0.35)
