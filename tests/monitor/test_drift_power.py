"""Power and false-alarm rates against closed forms and against what must be so."""

from __future__ import annotations

import math

import numpy as np
import pytest
from drift_data import TOLD, error, opened, pair, shares, table
from scipy.stats import norm

from weigh import catalog
from weigh.choice import Block, Unfit
from weigh.monitor.drift.domain_classifier import DomainClassifier
from weigh.monitor.drift.jensen_shannon import JensenShannon
from weigh.monitor.drift.ks import KolmogorovSmirnov
from weigh.monitor.drift.mean_shift import MeanShift
from weigh.monitor.drift.mmd import Mmd
from weigh.monitor.drift.psi import Psi
from weigh.monitor.drift.wasserstein import Wasserstein

MARGINAL = [MeanShift(), KolmogorovSmirnov(), Psi(), JensenShannon(), Wasserstein()]
BETWEEN = [DomainClassifier(), Mmd()]
names = lambda test: test.name  # noqa: E731


def z_power(bench, threshold: float, size: float) -> float:
    """The chance of |z| > threshold for a window of one column, which is normal, shifted by `size` deviations."""
    reference = bench.references[0].numbers[0]
    others = bench.history.numbers[np.concatenate(bench.splits[0].parts), 0]
    error = reference.std(ddof=1) * math.sqrt(1 / bench.task.window + 1 / len(reference))
    mean = (others.mean() - reference.mean() + size * bench.planter.deviation[0]) / error
    spread = others.std() / math.sqrt(bench.task.window) / error
    return float(norm.sf(threshold, mean, spread) + norm.cdf(-threshold, mean, spread))


@pytest.mark.parametrize("size", [0.0, 0.1, 0.2, 0.4])
def test_power_of_the_mean_shift_is_that_of_the_z_test(tmp_path, size):
    bench = opened(pair(tmp_path), columns=("a",), kinds=("mean",), size=size, window=100)
    expected, windows = z_power(bench, 1.96, size), 3000
    assert shares(bench, MeanShift(threshold=1.96), "mean", windows) == pytest.approx(
        expected, abs=TOLD * error(expected, windows)
    )
    assert expected == pytest.approx(norm.cdf(10 * size - 1.96) + norm.cdf(-10 * size - 1.96), abs=0.1)


def test_trials_measure_the_power_of_the_z_test(tmp_path):
    bench = opened(pair(tmp_path), columns=("a",), kinds=("mean",), size=0.2, window=100, planted=10, quiet=10)
    ready = bench.prepare(MeanShift(threshold=2.3))
    trials = [bench.trial(ready, Block(index=index, seed=1000 + index)) for index in range(200)]
    for name, size in (("power", 0.2), ("false_alarms", 0.0)):
        found, expected = np.concatenate([trial[name] for trial in trials]), z_power(bench, 2.3, size)
        assert found.size == 2000
        assert found.mean() == pytest.approx(expected, abs=TOLD * error(expected, 2000))
    excess = np.concatenate([trial["excess_false_alarms"] for trial in trials])
    assert excess.mean() == pytest.approx(np.mean([trial["false_alarms"] for trial in trials]) - 0.05)


def test_for_a_low_rate_windows_are_judged_in_groups(tmp_path):
    """At one in a hundred, five windows together alarm about once in twenty times; excess is of these."""
    bench = opened(pair(tmp_path), columns=("a",), window=100, false_alarm=0.01, calibration=1000, quiet=10)
    trial = bench.trial(bench.prepare(MeanShift()), Block(index=0, seed=5))
    assert (len(trial["false_alarms"]), len(trial["excess_false_alarms"])) == (50, 10)
    any_alarm = np.reshape(trial["false_alarms"], (10, 5)).max(axis=1)
    np.testing.assert_allclose(trial["excess_false_alarms"], any_alarm - (1 - 0.99**5))


@pytest.mark.parametrize("test", [*MARGINAL, *BETWEEN], ids=names)
def test_calibrated_tests_hold_their_rate_and_a_drift_of_size_zero_is_none(tmp_path, test):
    bench = opened(pair(tmp_path, 6000), size=0.0, window=100, reference=2000, calibration=800)
    windows = 1000
    quiet, drifted = shares(bench, test, None, windows), shares(bench, test, "mean", windows, seed=12)
    assert quiet == pytest.approx(0.05, abs=TOLD * math.hypot(error(0.05, windows), error(0.05, 800)))
    assert drifted == pytest.approx(quiet, abs=TOLD * math.sqrt(2) * error(0.05, windows))


@pytest.mark.parametrize("kind", ["mean", "scale"])
def test_a_drift_of_next_to_no_size_is_found_no_more_often_than_none(tmp_path, kind):
    """Moving all values of a lattice would be seen by every test that compares distributions, however little."""
    rng = np.random.default_rng(0)
    history = table(tmp_path, flag=rng.integers(0, 2, 12_000), count=rng.poisson(3, 12_000))
    bench = opened(history, size=0.001, window=300, reference=2000, kinds=(kind,), share_of_columns=1.0)
    rng = np.random.default_rng(5)
    quiet = [bench.quiet(rng) for _ in range(150)]
    drifted = [case._replace(window=bench.planter.plant(case.window, kind, rng)) for case in quiet]
    for test in [*MARGINAL, *BETWEEN]:
        ready = bench.prepare(test)
        assert abs(sum(map(ready.alarms, drifted)) - sum(map(ready.alarms, quiet))) <= 2, test.name


def test_another_rate_is_held(tmp_path):
    bench = opened(pair(tmp_path), false_alarm=0.2, window=100, calibration=1000)
    assert shares(bench, KolmogorovSmirnov(), None, 1000) == pytest.approx(0.2, abs=TOLD * error(0.2, 500))


@pytest.mark.parametrize("test", MARGINAL, ids=names)
def test_column_tests_are_blind_between_columns(tmp_path, test):
    bench = opened(pair(tmp_path), kinds=("correlation",), size=1.0, window=300)
    assert shares(bench, test, "correlation", 400) == pytest.approx(0.05, abs=TOLD * error(0.05, 200))


def test_the_domain_classifier_and_mmd_see_between_columns(tmp_path):
    bench = opened(pair(tmp_path), kinds=("correlation",), size=0.6, window=300)
    found = {test.name: shares(bench, test, "correlation", 100) for test in BETWEEN}
    assert found["domain_classifier"] > 0.95
    assert found["mmd"] > 0.3


@pytest.mark.parametrize("test", [*MARGINAL, *BETWEEN], ids=names)
def test_who_sees_missing_values(tmp_path, test):
    bench = opened(pair(tmp_path), kinds=("missing",), size=0.3, window=300)
    found = shares(bench, test, "missing", 200)
    if test.name in ("mean_shift", "ks", "wasserstein"):
        assert found < 0.15
    else:
        assert found > 0.95


def test_the_rule_of_thumb_of_psi_suits_one_window_only(tmp_path):
    rule, history = Psi(threshold=0.2), pair(tmp_path)
    many = opened(history, window=900, size=0.3)
    assert shares(many, rule, None, 200) == 0.0
    assert shares(many, rule, "mean", 100) < 0.5 < shares(many, Psi(), "mean", 100)
    with pytest.raises(Unfit, match=r"threshold=0.2 raises an alarm in \d+ of 400 quiet windows.*leave it out"):
        opened(history, window=50, size=0.3).prepare(rule)


def test_alarming_more_often_finds_no_more(tmp_path):
    """A threshold that is a little low, but not certainly so, counts drifts above the calibrated level only."""
    bench = opened(pair(tmp_path), columns=("a",), kinds=("mean",), size=0.2, window=100)
    rng = np.random.default_rng(3)
    cases = [bench.planted("mean", rng) for _ in range(400)]
    held, low = bench.prepare(MeanShift()), bench.prepare(MeanShift(threshold=1.9))
    strict = bench.prepare(MeanShift(threshold=2.5))
    found = {name: np.array([one.finds(case) for case in cases]) for name, one in zip("hls", (held, low, strict))}
    assert np.all(found["l"] <= found["h"]) and found["s"].sum() < found["h"].sum()
    assert sum(map(low.alarms, cases)) >= found["l"].sum()
    with pytest.raises(Unfit, match="raises an alarm in"):
        bench.prepare(MeanShift(threshold=1.6))


def test_a_threshold_that_is_given_is_not_calibrated(tmp_path):
    bench = opened(pair(tmp_path), window=500)
    case = bench.quiet(np.random.default_rng(0))
    assert str(bench.prepare(Psi(threshold=0.2)).level(case)) == "0.2"


def test_windows_depend_on_the_seed_alone(tmp_path):
    history = pair(tmp_path)
    block = Block(index=3, seed=77)

    def quiet(seed: int, block: Block) -> np.ndarray:
        return opened(history, seed)._windows(block)[0][0].window.numbers

    np.testing.assert_array_equal(quiet(1, block), quiet(1, block))
    assert (quiet(1, block) != quiet(2, block)).any()
    assert (quiet(1, block) != quiet(1, Block(index=4, seed=78))).any()


def test_all_tests_are_calibrated_on_the_same_windows_whether_held_or_drawn_again(tmp_path, monkeypatch):
    history = pair(tmp_path)

    def levels() -> list[str]:
        return [str(level) for level in opened(history).prepare(MeanShift()).known[0].levels]

    held = levels()
    monkeypatch.setattr("weigh.monitor.drift._bench.HELD_BYTES", 0)
    assert levels() == levels() == held


def test_every_option_scores_numbers_that_are_finite(tmp_path):
    """Windows that hold nothing, one value, or values far away."""
    choice = catalog.choice("monitor/drift")
    one = np.random.default_rng(0).normal(size=4000)
    bench = opened(table(tmp_path, a=one, b=one**2, c=np.where(one > 0, "x", "y")), window=200)
    for cls in catalog.options(choice).values():
        ready = bench.prepare(cls())
        for change in (math.nan, 0.0, 1e12):
            odd = bench.quiet(np.random.default_rng(1))
            odd.window.numbers[:] = change
            assert math.isfinite(ready.level(odd).rating(ready.scores(odd))), cls.name
