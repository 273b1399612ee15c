"""The replay of a history: what is drawn, and the error rates and power that must come out."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from experiment_data import DAYS, band, normal_task
from scipy import signal, special, stats

from weigh.cause.experiment import Experiment, ExperimentTask
from weigh.cause.experiment._bench import EACH, Replay, measured, stopped
from weigh.cause.experiment.bootstrap import Bootstrap
from weigh.cause.experiment.cuped import Cuped
from weigh.cause.experiment.sequential import Sequential
from weigh.cause.experiment.welch import Welch
from weigh.choice import Block


def chance_of_any(looks: int, alpha: float, step: float = 0.01) -> float:
    """False positives of a z-test looked at so many times, at even distances: Armitage, McPherson and Rowe 1969.

    The density of the running sum is carried from look to look; what lies outside the bounds leaves.
    """
    bound = stats.norm.ppf(1 - alpha / 2)
    grid = np.arange(-12, 12 + step / 2, step)
    kernel = stats.norm.pdf(grid) * step
    reach = np.arange(-bound * np.sqrt(looks) - 1, bound * np.sqrt(looks) + 1, step)
    inside = np.where(np.abs(reach) < bound, stats.norm.pdf(reach), 0.0)
    for look in range(2, looks + 1):
        inside = signal.fftconvolve(inside, kernel, mode="same")
        inside[np.abs(reach) >= bound * np.sqrt(look)] = 0.0
    return 1 - float(inside.sum() * step)


def test_the_recursion_gives_the_published_figures():
    assert chance_of_any(1, 0.05) == pytest.approx(0.05, abs=1e-3)
    assert chance_of_any(5, 0.05) == pytest.approx(0.142, abs=1e-3)
    assert chance_of_any(10, 0.05) == pytest.approx(0.193, abs=1e-3)


def rates(bench: Replay, option, blocks: int) -> dict[str, float]:
    """Averages of all measures over many blocks."""
    parts = [bench.trial(option, Block(index=i, seed=10_000 + i)) for i in range(blocks)]
    return {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}


def test_daily_looks_turn_five_percent_into_twenty_seven(tmp_path):
    truth, blocks = chance_of_any(DAYS, 0.05), 80
    assert truth == pytest.approx(0.2747, abs=5e-4)  # published from simulations: 27.7 %
    made = rates(Replay(normal_task(tmp_path, units=100 * DAYS), 0), Welch(), blocks)
    assert made["false_positives"] == pytest.approx(truth, abs=band(truth, blocks * EACH))
    assert made["false_positives_at_end"] == pytest.approx(0.05, abs=band(0.05, blocks * EACH))
    assert made["excess_false_positives"] == pytest.approx(made["false_positives"] - 0.05)


@pytest.mark.parametrize("option", [Sequential(), Sequential(covariate=True), Sequential(tight_at=0.2)])
def test_the_sequential_analysis_keeps_its_promise_under_daily_looks(tmp_path, option):
    wrong = 4000 * rates(Replay(normal_task(tmp_path), 0), option, 40)["false_positives"]
    assert special.betaincinv(wrong + 1, 4000 - wrong, 0.999) <= 0.05  # upper Clopper-Pearson bound


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_power_at_the_end_is_the_closed_form(tmp_path, share):
    bench = Replay(normal_task(tmp_path, looks="end", units=400, effect=2.5, share=share, experiments=200), 0)
    treated = round(400 * share)
    se = bench.history.deviation * np.sqrt(1 / treated + 1 / (400 - treated))
    limit = stats.t.ppf(0.975, 398)
    truth = stats.nct.sf(limit, 398, 2.5 / se)
    made = rates(bench, Welch(), 40)
    assert made["power"] == pytest.approx(truth, abs=band(truth, 4000))
    assert made["misses"] == pytest.approx(0.05, abs=band(0.05, 4000))
    if share == 0.5:  # far from 1, where it is cut off
        assert made["duration"] == pytest.approx((limit * se / 2.5) ** 2, rel=0.03)


def test_cuped_has_the_power_of_the_variance_that_is_left(tmp_path):
    bench = Replay(normal_task(tmp_path, looks="end", units=400, effect=2.0), 0)
    left = bench.history.deviation * np.sqrt(1 - bench.history.correlation**2)
    truth = stats.nct.sf(stats.t.ppf(0.975, 397), 397, 2.0 / (left * np.sqrt(4 / 400)))
    assert rates(bench, Cuped(), 40)["power"] == pytest.approx(truth, abs=band(truth, 4000))
    assert bench.history.correlation == pytest.approx(0.7, abs=0.01)


def test_the_bootstrap_keeps_its_promise_at_the_end_of_daily_looks(tmp_path):
    made = rates(Replay(normal_task(tmp_path), 0), Bootstrap(), 15)
    assert made["false_positives_at_end"] == pytest.approx(0.05, abs=band(0.05, 1500))


def test_experiments_that_share_a_blocks_bootstrap_weights_stay_independent(tmp_path):
    bench = Replay(normal_task(tmp_path, looks="end", units=200), 0)
    blocks = [bench.trial(Bootstrap(), Block(index=i, seed=i))["false_positives"] for i in range(100)]
    shares = np.mean(blocks, axis=1)
    binomial = shares.mean() * (1 - shares.mean()) / EACH
    assert shares.var(ddof=1) / binomial < stats.chi2.ppf(0.9999, 99) / 99


def test_units_enter_on_their_day_of_one_period(tmp_path):
    day = np.repeat(np.arange(9), [50, 60, 70] * 3)
    metric = 100.0 * day + np.random.default_rng(0).integers(20, 80, len(day))
    frame = pl.DataFrame({"day": day, "m": metric}).sample(fraction=1.0, shuffle=True, seed=1)
    frame.select(date=pl.date(2024, 1, 1) + pl.duration(days="day"), m="m").write_parquet(tmp_path / "t.parquet")
    task = ExperimentTask(history=tmp_path / "t.parquet", metric="m", time="date", effect=1.0, days=3, looks="daily")
    bench = Replay(task, 0)
    data = bench.experiments(5, daily=True)
    units = data.units()
    came = (units.y * bench.history.deviation + bench.history.mean) // 100
    assert (came % 3 == units.look).all()
    periods = came // 3
    assert (periods == periods[:, :1]).all(), "an experiment mixes periods"
    assert set(np.unique(periods)) == {0, 1, 2}, "a block uses one period only"
    assert np.bincount(units.look).tolist() == [50, 60, 70] and data.planned == 180


@pytest.mark.parametrize("plant, effect", [("add", 0.7), ("scale", 0.4), ("convert", 0.4), ("convert", -0.2)])
def test_the_moments_are_those_of_the_units(tmp_path, plant, effect):
    rng = np.random.default_rng(0)
    spend = np.where(rng.random(9000) < 0.3, rng.gamma(4, 5, 9000), 0.0)
    frame = pl.DataFrame({"spend": spend, "before": rng.normal(size=9000) + spend / 20})
    frame.write_parquet(tmp_path / "s.parquet")
    task = ExperimentTask(
        history=tmp_path / "s.parquet", metric="spend", covariate="before", units=300, days=5, effect=1.0, plant=plant,
        looks="daily",
    )  # fmt: skip
    bench = Replay(task, 0)
    data, truth = bench.planted(3, True, effect)
    assert truth == pytest.approx(effect, abs=1e-5)
    plain, units = bench.experiments(3, True).units(), data.units()
    moved = units.y != plain.y
    assert not moved[:, ~units.treated].any() and moved[:, units.treated].any()
    for arm, treated in ((data.control, False), (data.treated, True)):
        for look in range(5):
            now = (units.treated == treated) & (units.look <= look)
            y, x = units.y[:, now].astype(float), units.x[:, now].astype(float)
            assert arm.n[:, look] == pytest.approx(now.sum())
            assert arm.mean[:, look] == pytest.approx(y.mean(axis=1), abs=1e-5)
            assert arm.var[:, look] == pytest.approx(y.var(axis=1, ddof=1), rel=1e-4, abs=1e-6)
            assert arm.x_var[:, look] == pytest.approx(x.var(axis=1, ddof=1), rel=1e-4)
            cov = [np.cov(a, b)[0, 1] for a, b in zip(y, x)]
            assert arm.cov[:, look] == pytest.approx(cov, abs=1e-4)


def test_shares_and_sizes_are_kept(tmp_path):
    data = Replay(normal_task(tmp_path, units=1000, days=7, share=0.1), 0).experiments(0, daily=True)
    assert data.treated.n[0, -1] == 100 and data.control.n[0, -1] == 900 and data.planned == 1000
    assert np.abs(data.treated.n - 0.1 * (data.treated.n + data.control.n)).max() <= 0.5


def test_rows_of_one_unit_count_once_from_their_first_day(tmp_path):
    frame = pl.DataFrame(
        {
            "who": [i // 3 for i in range(300)],
            "day": [i % 3 + i // 150 for i in range(300)],
            "m": [float(i % 7) for i in range(300)],
        }
    )
    frame.write_parquet(tmp_path / "c.parquet")
    task = ExperimentTask(history=tmp_path / "c.parquet", metric="m", unit="who", time="day", days=4, effect=1.0)
    history = Replay(task, 0).history
    truth = frame.group_by("who", maintain_order=True).agg(pl.col("m").mean(), pl.col("day").min())
    assert history.counts.tolist() == [[50, 50, 0, 0]] == [np.bincount(truth["day"], minlength=4).tolist()]
    values = np.sort(history.y * history.deviation + history.mean)
    assert values == pytest.approx(np.sort(truth["m"]), abs=1e-5)


def test_what_is_found_first_counts(tmp_path):
    from weigh.cause.experiment import Readings

    low = np.array([[-1.0, 0.5, 0.2], [-3, -4, 0.1], [-1, -1, -1], [np.nan, np.nan, 0.1]])
    high = np.array([[1.0, 2, 2], [1, -1, 2], [1, 1, 1], [np.nan, np.nan, 3]])
    read = Readings(low, low, high, low)
    seen, day = stopped(read)
    assert seen.tolist() == [1, -1, 0, 1] and day.tolist() == [1, 1, 2, 2]
    values = measured(read, read, truth=np.ones((4, 3)), alpha=0.05)
    assert values["power"] == [1, 0, 0, 1]
    assert values["false_positives"] == [1, 1, 0, 1] and values["false_positives_at_end"] == [1, 1, 0, 1]
    assert values["duration"] == pytest.approx([2 / 3, 2 / 3, 1, 1])
    assert values["misses"] == [0, 1, 0, 0]


def test_the_same_seed_draws_the_same_and_options_share_it(tmp_path):
    task = normal_task(tmp_path, units=200)
    one, other = Experiment().open(task, 0), Experiment().open(task, 0)
    block = Block(index=0, seed=9)
    assert one.trial(Welch(), block) == other.trial(Welch(), block)
    assert one.trial(Welch(), block) != one.trial(Welch(), Block(index=1, seed=10))
    assert one.experiments(9, True) is one.experiments(9, True)
