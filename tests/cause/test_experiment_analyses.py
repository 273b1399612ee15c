"""Each analysis against an independent truth: SciPy, statsmodels, a closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from experiment_data import one_experiment
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from weigh.cause.experiment import Arm, Experiments, Units
from weigh.cause.experiment._difference import difference, quantile
from weigh.cause.experiment.bootstrap import Bootstrap
from weigh.cause.experiment.cuped import Cuped
from weigh.cause.experiment.sequential import Sequential, mixing
from weigh.cause.experiment.welch import Welch
from weigh.choice import Unfit


@given(
    sizes=st.tuples(st.integers(2, 60), st.integers(2, 60)),
    spread=st.floats(0.1, 50),
    alpha=st.floats(0.001, 0.4),
    seed=st.integers(0, 10_000),
)
def test_welch_is_scipys_welch(sizes, spread, alpha, seed):
    rng = np.random.default_rng(seed)
    control, treated = rng.normal(3, 1, sizes[0]), rng.gamma(2, spread, sizes[1])
    read = Welch().analyse(one_experiment(control, treated), alpha)
    truth = stats.ttest_ind(treated, control, equal_var=False)
    bounds = truth.confidence_interval(1 - alpha)
    assert read.p[0, 0] == pytest.approx(truth.pvalue, rel=1e-8, abs=1e-14)
    assert (read.low[0, 0], read.high[0, 0]) == pytest.approx((bounds.low, bounds.high), rel=1e-8, abs=1e-10)
    assert read.effect[0, 0] == pytest.approx(treated.mean() - control.mean(), rel=1e-9, abs=1e-12)


def correlated(rng: np.random.Generator, n: int, correlation: float) -> tuple[np.ndarray, np.ndarray]:
    x = rng.normal(size=n)
    return correlation * x + np.sqrt(1 - correlation**2) * rng.normal(size=n), x


@pytest.mark.parametrize("sizes", [(500, 500), (12, 12), (300, 900)])
def test_cuped_is_least_squares_on_arm_and_covariate(sizes):
    import statsmodels.api as sm

    rng = np.random.default_rng(7)
    (y0, x0), (y1, x1) = (correlated(rng, size, 0.7) for size in sizes)
    made = difference(one_experiment(y0, y1 + 0.3, (x0, x1)), adjust=True)
    arm = np.repeat([0.0, 1.0], sizes)
    truth = sm.OLS(
        np.concatenate([y0, y1 + 0.3]), np.column_stack([np.ones(sum(sizes)), arm, np.concatenate([x0, x1])])
    ).fit()
    assert made.effect[0, 0] == pytest.approx(truth.params[1], rel=1e-10)
    equal = sizes[0] == sizes[1]
    assert made.se[0, 0] == pytest.approx(truth.bse[1], rel=1e-10 if equal else 0.05)


def test_cupeds_variance_falls_by_the_squared_correlation():
    rng = np.random.default_rng(3)
    plain, adjusted = [], []
    for _ in range(2000):
        (y0, x0), (y1, x1) = correlated(rng, 100, 0.7), correlated(rng, 100, 0.7)
        data = one_experiment(y0, y1, (x0, x1))
        plain.append(difference(data).effect[0, 0])
        adjusted.append(difference(data, adjust=True).effect[0, 0])
    ratio = np.var(adjusted) / np.var(plain)
    assert ratio == pytest.approx(1 - 0.7**2, abs=0.05)  # 4 standard errors of a ratio of correlated variances


def test_an_effect_does_not_leak_into_cupeds_slope():
    rng = np.random.default_rng(5)
    (y0, x0), (y1, x1) = correlated(rng, 200, 0.7), correlated(rng, 200, 0.7)
    data = one_experiment(y0, y1, (x0, x1))
    before, after = Cuped().analyse(data, 0.05), Cuped().analyse(data.moved(1.0, 50.0), 0.05)
    assert after.low - before.low == pytest.approx(50.0, rel=1e-9)
    assert after.high - before.high == pytest.approx(50.0, rel=1e-9)


def test_the_bootstrap_is_halls_symmetric_interval():
    rng = np.random.default_rng(11)
    control, treated = rng.lognormal(size=90), rng.lognormal(0.4, 1, size=70)
    read = Bootstrap(buckets=400).analyse(one_experiment(control, treated), 0.05)
    again = [rng.choice(arm, (20_000, arm.size)) for arm in (control, treated)]
    effect = treated.mean() - control.mean()
    errors = np.sqrt(sum(drawn.var(axis=1) / drawn.shape[1] for drawn in again))
    strays = np.abs(again[1].mean(axis=1) - again[0].mean(axis=1) - effect) / errors
    se = np.sqrt(control.var() / control.size + treated.var() / treated.size)
    assert read.high[0, 0] - effect == pytest.approx(np.quantile(strays, 0.95) * se, rel=0.05)
    assert effect - read.low[0, 0] == pytest.approx(read.high[0, 0] - effect)
    assert read.p[0, 0] == pytest.approx(np.mean(strays >= effect / se), abs=0.01)


def test_the_bootstrap_does_not_find_too_much_in_a_skewed_metric():
    rng, finds = np.random.default_rng(2), {Bootstrap(): 0, Welch(): 0}
    for _ in range(10):
        y = np.where(rng.random((100, 600)) < 0.1, rng.lognormal(0, 1.5, (100, 600)), 0.0)
        units = Units(y, None, np.repeat([False, True], 300), np.zeros(600, dtype=np.int64))
        for option in finds:
            finds[option] += np.abs(option.analyse(Experiments.of(units, 1, 600.0, 0), 0.05).found()).sum()
    assert finds[Bootstrap()] <= stats.binom.ppf(0.999, 1000, 0.05)


def test_the_bootstrap_in_buckets_has_the_width_of_welchs_interval():
    rng = np.random.default_rng(13)
    data = one_experiment(rng.normal(size=5000), rng.normal(size=5000))
    narrow, truth = Bootstrap(draws=9999).analyse(data, 0.05), Welch().analyse(data, 0.05)
    assert (narrow.high - narrow.low)[0, 0] == pytest.approx((truth.high - truth.low)[0, 0], rel=0.15)


def test_the_bootstraps_draws_must_resolve_alpha():
    y = np.tile(np.arange(60.0) ** 1.1, (2, 1))
    units = Units(y, None, np.arange(60) % 60 >= 30, np.zeros(60, dtype=np.int64))
    data = Experiments.of(units, 1, 60.0, 0)
    with pytest.raises(Unfit, match="draws=999 or more"):
        Bootstrap(draws=399).analyse(data, 0.001)
    assert np.isfinite(Bootstrap(draws=999).analyse(data, 0.001).low).all()


def test_the_sequential_interval_is_the_normal_mixture():
    rng = np.random.default_rng(17)
    control, treated = rng.normal(size=800), rng.normal(0.1, 1, size=800)
    data = one_experiment(control, treated, planned=3200.0)
    read, made = Sequential().analyse(data, 0.05), difference(data)
    effect, se = made.effect[0, 0], made.se[0, 0]
    tau = se * np.sqrt(mixing(0.05) * 0.5)  # half of the planned units have come

    def ratio(null: float) -> float:
        """Likelihood of the estimate, the effect drawn from N(null, tau^2), over its likelihood at the null."""
        return stats.norm.pdf(effect, null, np.hypot(se, tau)) / stats.norm.pdf(effect, null, se)

    assert ratio(read.low[0, 0]) == pytest.approx(20, rel=1e-9) == ratio(read.high[0, 0])
    assert read.p[0, 0] == pytest.approx(min(1.0, 1 / ratio(0.0)), rel=1e-9)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_the_mixture_is_narrowest_where_it_is_tuned(alpha):
    def half_width(ratio: float) -> float:
        return (1 + 1 / ratio) * (2 * np.log(1 / alpha) + np.log1p(ratio))

    best = optimize.minimize_scalar(half_width, bounds=(0.5, 100), method="bounded")
    assert half_width(mixing(alpha)) == pytest.approx(best.fun, rel=2e-3)


def test_the_sequential_analysis_says_nothing_of_few_units():
    data = one_experiment(np.arange(19.0), np.arange(19.0) + 1000)
    read = Sequential(least=20).analyse(data, 0.05)
    assert (read.low[0, 0], read.high[0, 0], read.p[0, 0]) == (-np.inf, np.inf, 1.0)
    assert Sequential(least=19).analyse(data, 0.05).found() == 1


def conversions(rng: np.random.Generator, share: float, rate: float, looks: int = 28, each: int = 100) -> Experiments:
    """A thousand A/A tests on a rare conversion, looked at daily."""
    sizes = (each - round(each * share), round(each * share))
    arms = []
    for size in sizes:
        n = np.tile(size * np.arange(1.0, looks + 1), (1000, 1))
        events = rng.binomial(size, rate, (1000, looks)).cumsum(axis=1).astype(float)
        arms.append(Arm.of(np.stack([n, events, events])))
    return Experiments(*arms, planned=float(each * looks), seed=0, units=None, values=(0.0, 1.0))


@pytest.mark.parametrize("share, rate", [(0.1, 0.01), (0.1, 0.05), (0.5, 0.002), (0.2, 0.98)])
def test_the_sequential_analysis_waits_for_events(share, rate):
    data = conversions(np.random.default_rng(3), share, rate)
    wrong = (Sequential().analyse(data, 0.05).found() != 0).any(axis=1).sum()
    assert wrong <= stats.binom.ppf(0.9999, 1000, 0.05)
    if share == 0.1:
        eager = Sequential(events=0).analyse(replace(data, values=None), 0.05).found() != 0
        assert eager.any(axis=1).sum() >= wrong


def test_the_sequential_analysis_says_nothing_of_units_that_are_all_the_same():
    read = Sequential().analyse(one_experiment(np.zeros(100), np.r_[np.zeros(50), np.ones(50)]), 0.05)
    assert read.found()[0, 0] == 0 and read.high[0, 0] == np.inf


@pytest.mark.parametrize("option", [Cuped(), Sequential(covariate=True)])
def test_without_a_past_the_adjusted_analyses_are_unfit(option):
    with pytest.raises(Unfit, match="name its column as 'covariate'"):
        option.analyse(one_experiment(np.arange(30.0), np.arange(30.0)), 0.05)


@pytest.mark.parametrize("low, high", [(1.1, 4000), (4, 60), (200, 200)])
def test_many_quantiles_at_once_are_scipys(low, high):
    df = np.random.default_rng(0).uniform(low, high, (30, 28))
    for level in (0.8, 0.975, 0.9995):
        assert quantile(df, level) == pytest.approx(stats.t.ppf(level, df), rel=1e-9)


def test_an_arm_of_one_unit_is_read_as_nothing():
    read = Welch().analyse(one_experiment(np.array([1.0]), np.arange(5.0)), 0.05)
    assert np.isnan(read.low[0, 0]) and read.found()[0, 0] == 0
