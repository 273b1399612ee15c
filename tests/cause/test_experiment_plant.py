"""How effects are planted, against experiments whose arms really differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from weigh.cause.experiment import Analysis, Arm, Experiments, ExperimentTask
from weigh.cause.experiment._bench import EACH, Replay, measured
from weigh.cause.experiment.sequential import Sequential
from weigh.cause.experiment.welch import Welch
from weigh.choice import Block, UsageError

UNITS, DAYS, BLOCKS = 2800, 28, 25


def bench(folder: Path, values: np.ndarray, **fields: object) -> Replay:
    """A history of these values, as experiments of 100 units a day."""
    path = folder / "h.parquet"
    pl.DataFrame({"m": values}).write_parquet(path)
    given = {"history": path, "metric": "m", "units": UNITS, "days": DAYS, "looks": "daily"}
    return Replay(ExperimentTask.model_validate(given | fields), 0)


def shares(size: int, rate: float) -> np.ndarray:
    """Zeros and ones, exactly so many of them."""
    return np.repeat([1.0, 0.0], [round(size * rate), size - round(size * rate)])


def bernoulli(rates: tuple[float, float], experiments: int) -> Experiments:
    """Experiments whose arms are drawn from two Bernoulli distributions, looked at daily."""
    rng, arms = np.random.default_rng(5), []
    n = np.tile(50.0 * np.arange(1, DAYS + 1), (experiments, 1))
    for rate in rates:
        events = rng.binomial(50, rate, (experiments, DAYS)).cumsum(axis=1).astype(float)
        arms.append(Arm.of(np.stack([n, events, events])))
    return Experiments(*arms, planned=float(UNITS), seed=0, units=None, values=(0.0, 1.0))


@pytest.mark.parametrize("option", [Welch(), Sequential()])
@pytest.mark.parametrize("before, after", [(0.002, 0.012), (0.01, 0.02), (0.1, 0.14), (0.14, 0.1)])
def test_a_planted_conversion_is_found_like_a_real_one(tmp_path, option: Analysis, before: float, after: float):
    made = bench(tmp_path, shares(20_000, before), effect=after - before)
    parts = [made.trial(option, Block(index=i, seed=100 + i)) for i in range(BLOCKS)]
    real = 10_000
    without, with_ = (option.analyse(bernoulli((before, rate), real), 0.05) for rate in (before, after))
    truth = measured(without, with_, np.full((real, DAYS), after - before), 0.05)
    for name in ("power", "duration", "misses"):
        ours, theirs = np.concatenate([part[name] for part in parts]), np.array(truth[name])
        apart = np.sqrt(ours.var() / ours.size + theirs.var() / theirs.size)
        assert ours.mean() == pytest.approx(theirs.mean(), abs=4 * apart), name


def test_larger_effects_convert_the_same_units_and_more(tmp_path):
    made = bench(tmp_path, shares(10_000, 0.1), effect=0.05)
    plain = made.experiments(1, False).units().y
    small, large = (made.planted(1, False, effect)[0].units().y != plain for effect in (0.1, 0.2))
    assert small.any() and not (small & ~large).any() and large.sum() > 1.8 * small.sum()


@pytest.mark.parametrize(
    "values, fields, kind, factor",
    [
        (shares(1000, 0.1), {"effect": 0.1}, "convert", 1.0),
        (shares(1000, 0.1), {"effect": 0.1, "relative": True}, "convert", 0.1),
        (3 + 2 * shares(1000, 0.5), {"effect": -0.3}, "convert", 1.0),
        (np.arange(1000.0), {"effect": 5}, "add", 1.0),
        (np.arange(1000.0), {"effect": 0.1, "relative": True}, "scale", 499.5),
        (np.arange(1000.0) - 400, {"effect": 0.1, "relative": True}, "add", 99.5),
        (np.arange(1000.0) * shares(1000, 0.5), {"effect": 5}, "scale", 1.0),
        (np.arange(1000.0) * shares(1000, 0.5), {"effect": 5, "plant": "convert"}, "convert", 1.0),
    ],
)
def test_the_kind_suits_the_metric_and_the_mean_moves_by_the_effect(tmp_path, values, fields, kind, factor):
    made = bench(tmp_path, values, **fields)
    effect = fields["effect"] * factor / values.std()
    assert made.history.plant.kind == kind and made.effect == pytest.approx(effect)
    data, truth = made.planted(0, False, made.effect)
    gained = data.treated.mean - made.experiments(0, False).treated.mean
    assert truth == pytest.approx(effect, rel=1e-4)
    assert gained.mean() == pytest.approx(effect, abs=5 * gained.std() / np.sqrt(EACH) + 1e-6)


def test_an_effect_that_depends_on_the_period_is_judged_by_the_periods(tmp_path):
    path = tmp_path / "h.parquet"
    rates, rng = np.repeat([0.1, 0.5], 5000), np.random.default_rng(0)
    day = np.arange(10_000) // 500
    pl.DataFrame({"m": (rng.random(10_000) < rates) * 1.0, "d": day}).write_parquet(path)
    task = ExperimentTask(history=path, metric="m", time="d", days=10, effect=0.07, looks="daily")
    made = Replay(task, 0)
    data, truth = made.planted(3, True, made.effect)
    gained = data.treated.mean - made.experiments(3, True).treated.mean
    assert len(set(truth[:, -1].round(4))) == 2
    for level in set(truth[:, -1].round(6)):
        here = truth[:, -1].round(6) == level
        error = gained[here, -1].std() / np.sqrt(here.sum())
        assert gained[here, -1].mean() == pytest.approx(level, abs=5 * error)


@pytest.mark.parametrize(
    "values, fields, text",
    [
        (shares(10_000, 0.002), {"effect": -0.01}, r"effect of -0.01 in 'm'.* 0.002 on average .* by -0.002 to 0.998"),
        (shares(1000, 0.5), {"effect": 0.6}, "change by -0.5 to 0.5"),
        (np.arange(100.0), {"effect": -1.5, "relative": True}, "change by -49.5 to inf"),
        (shares(1000, 0.5), {"effect": 0.1, "plant": "add"}, "'m' has only two values"),
        (np.arange(1, 100.0), {"effect": 0.1, "plant": "convert"}, "'m' is never 0"),
        (np.arange(-5, 100.0), {"effect": 0.1, "plant": "convert"}, "'m' is negative for some units"),
        (np.arange(-5, 100.0), {"effect": 0.1, "plant": "scale"}, "'m' is negative for some units"),
    ],
)
def test_effects_that_no_treatment_has_are_refused(tmp_path, values, fields, text):
    with pytest.raises(UsageError, match=text):
        bench(tmp_path, values, **fields)


def test_a_metric_of_two_values_is_named_in_the_facts(tmp_path):
    made = bench(tmp_path, shares(10_000, 0.1), effect=0.05, looks="end")
    facts = made.exhibits({"welch": Welch()})[-1]
    said = {str(fact): value for fact, value in facts.rows}
    assert said["how it is planted"] == "convert: some treated units converted"
    assert said["units that can convert and do"] == f"{0.05 / 0.9:.2%}"
