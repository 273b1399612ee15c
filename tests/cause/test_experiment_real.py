"""Reading a real experiment: what it says, and what makes it no experiment."""

from __future__ import annotations

import math
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from scipy import stats

from weigh.cause.experiment import BadExperiment, analyse, sample_ratio
from weigh.cause.experiment._srm import log_bayes_factor
from weigh.cause.experiment.bootstrap import Bootstrap
from weigh.cause.experiment.cuped import Cuped
from weigh.cause.experiment.sequential import Sequential
from weigh.choice import UsageError
from weigh.data import DataError


def table(n: int = 2000, effect: float = 0.3, seed: int = 0) -> pl.DataFrame:
    """An experiment on minutes, correlation .7 with the past, over twenty days."""
    rng = np.random.default_rng(seed)
    treated = rng.random(n) < 0.5
    past = rng.normal(size=n)
    minutes = 20 + 0.7 * past + np.sqrt(0.51) * rng.normal(size=n) + effect * treated
    days = [date(2024, 3, 1) + timedelta(days=int(day)) for day in rng.integers(0, 20, n)]
    return pl.DataFrame(
        {
            "arm": np.where(treated, "challenger", "champion"),
            "minutes": minutes,
            "past": past,
            "day": days,
            "who": range(n),
        }
    )


def read(frame: pl.DataFrame, **given):
    return analyse(frame, **({"metric": "minutes", "arm": "arm", "control": "champion"} | given))


def test_it_says_what_scipy_says():
    frame = table()
    made = read(frame)
    groups = [frame.filter(arm=name)["minutes"].to_numpy() for name in ("challenger", "champion")]
    truth = stats.ttest_ind(*groups, equal_var=False)
    bounds = truth.confidence_interval(0.95)
    assert (made.low, made.high, made.p) == pytest.approx((bounds.low, bounds.high, truth.pvalue), rel=1e-8)
    assert (made.n_treated, made.n_control) == (len(groups[0]), len(groups[1]))
    assert made.mean_treated - made.mean_control == pytest.approx(made.effect)
    assert made.found == "higher" and made.text.startswith(
        "minutes is higher under challenger than under champion: +0."
    )
    assert str(made).endswith("of 20), p < 0.001, 95% interval by welch") and made.sample_ratio.ok


def test_the_metrics_unit_and_origin_do_not_matter():
    frame = table()
    plain, moved = (
        read(frame, by=Cuped(), covariate="past"),
        read(frame.with_columns(pl.col("minutes") * 60 + 1e6), by=Cuped(), covariate="past"),
    )
    assert (moved.effect, moved.low, moved.high) == pytest.approx(
        (60 * plain.effect, 60 * plain.low, 60 * plain.high), rel=1e-6
    )


def test_nothing_is_found_where_nothing_is():
    made = read(table(effect=0.0))
    assert made.found == "nothing" and made.low < 0 < made.high
    assert "no difference in minutes between challenger and champion was found" in made.text


def test_cuped_narrows_the_interval_by_what_the_past_explains():
    frame = table(n=8000)
    wide, narrow = read(frame), read(frame, by=Cuped(), covariate="past")
    assert (narrow.high - narrow.low) ** 2 / (wide.high - wide.low) ** 2 == pytest.approx(0.51, abs=0.03)
    assert narrow.covariate_p is not None and narrow.covariate_p > 0.001


def test_bootstrap_does_not_depend_on_the_order_of_rows():
    frame = table(n=600).sort("minutes")
    sorted_rows = read(frame, by=Bootstrap(draws=1999))
    welch = read(frame)
    assert sorted_rows.high - sorted_rows.low == pytest.approx(welch.high - welch.low, rel=0.15)


def test_a_sequential_reading_shows_each_day():
    made = read(table(), by=Sequential(covariate=True), covariate="past", time="day", looks="daily", planned=2000)
    assert [look.day for look in made.looks] == list(range(1, 21)) and made.looks[-1].units == 2000
    last = made.looks[-1]
    assert (last.low, last.high) == (made.low, made.high)
    widths = [look.high - look.low for look in made.looks if look.low is not None and look.high is not None]
    assert widths[-1] < widths[0] / 3 and made.sample_ratio.repeated


def test_rows_of_a_unit_count_once():
    frame = table(n=1000)
    doubled = pl.concat([frame.with_columns(pl.col("minutes") + 1), frame.with_columns(pl.col("minutes") - 1)])
    once, twice = read(frame), read(doubled, unit="who")
    assert (twice.n_control, twice.n_treated) == (once.n_control, once.n_treated)
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high), rel=1e-9)


def test_a_days_look_at_rows_of_several_days_is_not_shown():
    frame = pl.concat([table(), table().with_columns(day=pl.col("day") + pl.duration(days=1))])
    assert read(table(), unit="who", time="day", by=Sequential()).looks
    assert not read(frame, unit="who", time="day", by=Sequential()).looks


def test_too_few_units_for_a_sequential_reading_are_said_to_be():
    made = read(table(n=30), by=Sequential())
    assert (made.low, made.high, made.found) == (None, None, "nothing")
    assert "[?, ?]" in str(made)


def test_lost_units_stop_the_reading():
    frame = table(n=4000)
    kept = frame.filter((pl.col("arm") == "champion") | (pl.col("who") % 5 > 0))
    with pytest.raises(BadExperiment, match=r"the sample ratio is off: .*find what loses units"):
        read(kept)
    assert read(kept, share=0.44).sample_ratio.ok


def test_a_covariate_that_the_treatment_changed_stops_the_reading():
    frame = table().with_columns(past=pl.col("past") + pl.when(pl.col("arm") == "challenger").then(0.5).otherwise(0))
    with pytest.raises(BadExperiment, match="the arms differ in 'past'"):
        read(frame, covariate="past", by=Cuped())


def test_a_unit_in_both_arms_stops_the_reading():
    frame = table()
    twice = pl.concat(
        [
            frame,
            frame.head(3).with_columns(arm=pl.lit("champion")),
            frame.head(3).with_columns(arm=pl.lit("challenger")),
        ]
    )
    with pytest.raises(BadExperiment, match="3 units of 'who' are in both arms"):
        read(twice, unit="who")


def with_gap(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(minutes=pl.when(pl.col("who") == 7).then(None).otherwise("minutes"))


@pytest.mark.parametrize(
    "frame, given, text",
    [
        (table(), {"control": "champoin"}, "did you mean 'champion'"),
        (table(), {"arm": "who", "control": 3}, "names 2000 arms"),
        (table().filter(arm="champion"), {}, "names 1 arms"),
        (with_gap(table()), {}, "1 rows have no 'minutes': dropping units after they were assigned biases"),
        (table(), {"covariate": "minutes"}, "both as the metric and as the covariate"),
        (table().with_columns(copy=pl.col("minutes") * 2 + 1), {"covariate": "copy"}, "says the same as 'minutes'"),
        (table().with_columns(minutes=pl.lit(1.0)), {}, "is 1 for every unit"),
        (table(), {"looks": "daily"}, "by=Sequential"),
        (table(), {"looks": "daily", "by": Sequential()}, "pass planned=20000"),
        (
            table().with_columns(arm=pl.when(pl.col("who") > 2).then("arm")),
            {},
            "3 rows have no 'arm': find out which arm each was assigned to",
        ),
        (table(), {"alpha": 2}, "you gave alpha=2"),
        (table(), {"share": 1.0}, "you gave share=1"),
        (table().head(20).group_by("arm").head(1), {}, "a single unit shows no variance"),
        (table().with_columns(minutes=(pl.col("arm") == "champion").cast(int)), {}, "does not vary within the arms"),
        (table(), {"by": Cuped()}, "by cuped, which cannot serve it: .*name its column as 'covariate'"),
        (
            pl.concat([table(), table().with_columns(day=pl.col("day") + pl.duration(days=1))]),
            {"unit": "who", "time": "day", "looks": "daily", "by": Sequential(), "planned": 2000},
            "2,000 units of 'who' have rows on several days",
        ),
    ],
)
def test_what_is_no_experiment_is_refused_in_words(frame, given, text):
    with pytest.raises(UsageError, match=text):
        read(frame, **given)


def test_a_column_that_does_not_exist_is_named_with_the_nearest():
    with pytest.raises(DataError, match="did you mean 'minutes'"):
        read(table(), metric="minuts")


# the sample ratio


@pytest.mark.parametrize(
    "counts, shares", [((5000, 5300), (0.5, 0.5)), ((90, 12, 5), (0.8, 0.1, 0.1)), ((1, 0), (0.3, 0.7))]
)
def test_the_ratio_is_scipys_chi_squared(counts, shares):
    made = sample_ratio(counts, shares)
    assert made.p == pytest.approx(stats.chisquare(counts, np.array(shares) * sum(counts)).pvalue, rel=1e-10)
    assert made.ok is (made.p >= 0.001)


def test_the_bayes_factor_is_beta_binomial_over_binomial():
    shares = (0.3, 0.7)
    truth = stats.betabinom(500, 300, 700).logpmf(180) - stats.binom(500, 0.3).logpmf(180)
    assert log_bayes_factor((180, 320), shares) == pytest.approx(truth, rel=1e-9)
    assert sample_ratio((180, 320), shares).p_any_time == pytest.approx(math.exp(min(0, -truth)), rel=1e-9)


def test_a_ratio_that_is_watched_needs_the_e_value():
    rng = np.random.default_rng(0)
    experiments, looks = 400, 168
    treated = rng.binomial(30, 0.5, (experiments, looks)).cumsum(axis=1)
    ends = 30 * np.arange(1, looks + 1)
    once, watched = 0, 0
    for row in treated:
        seen = [sample_ratio((int(n - t), int(t)), alpha=0.05) for t, n in zip(row, ends)]
        once += any(look.p < 0.05 for look in seen)
        watched += any(look.p_any_time < 0.05 for look in seen)
    assert once > 4 * 0.05 * experiments, "looking often at chi-squared should fail"
    assert watched <= stats.binom.ppf(0.999, experiments, 0.05)


def test_chi_squared_at_a_thousandth_looked_at_hourly_is_wrong_in_two_percent():
    rng = np.random.default_rng(1)
    wrong, hours = 0, 24 * 28
    for _ in range(20):
        steps = rng.normal(size=(1000, hours)).cumsum(axis=1) / np.sqrt(np.arange(1, hours + 1))
        wrong += int((np.abs(steps).max(axis=1) > stats.norm.isf(0.0005)).sum())
    assert wrong / 20_000 == pytest.approx(0.024, abs=0.004)


def test_both_checks_find_a_ratio_that_is_off():
    made = sample_ratio([50_000, 51_500], repeated=True)
    assert not made.ok and made.p_any_time < 0.001 > made.p
    assert "valid at any time" in str(made) and sample_ratio([50_000, 50_200], repeated=True).ok


@pytest.mark.parametrize(
    "counts, shares, text",
    [((5,), (), "needs two"), ((0, 0), (), "one must be positive"), ((3, -1), (), "must not be negative"),
     ((3, 4), (0.5, 0.6), "adding up to 1"), ((3, 4), (1.0,), "for 2 arms")],
)  # fmt: skip
def test_counts_that_are_none_are_refused(counts, shares, text):
    with pytest.raises(UsageError, match=text):
        sample_ratio(counts, shares)
