"""What bench-rollout scores in arrays is what the judge does; what it says of others is what their documents say."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.rollout import goals, minutes, peers, ratio, releases, simpson
from weigh.rollout.judge import Judge
from weigh.rollout.plan import RolloutPlan
from weigh.scale.sample_ratio import SampleRatio


def _goal(stages=(0.5, 1.0), horizon=goals.DAYS * goals.EACH) -> Judge:
    return Judge(
        RolloutPlan(
            guardrails=["error <= 0.5"],
            goal="conversion > baseline",
            metrics=[{"name": "conversion"}],
            stages=stages,
            horizon=horizon,
        )
    )


def _feed(judge: Judge, stage: int, n: tuple[int, int], ones: tuple[int, int]) -> None:
    for arm, name in enumerate(("baseline", "canary")):
        column = np.zeros(n[arm])
        column[: ones[arm]] = 1.0
        judge.add(stage, np.full(n[arm], name == "canary"), 0.0, {"conversion": column})


def test_the_goal_is_scored_as_the_judge_looks_at_it():
    rng, judge = np.random.default_rng(0), _goal()
    z = goals.days(np.random.default_rng(0), 1, 0.01, 2)[0]
    counts = [rng.binomial(goals.EACH, rate, (1, 2 * goals.DAYS))[0] for rate in (0.10, 0.11)]
    for day in range(2 * goals.DAYS):
        _feed(judge, 0, (goals.EACH, goals.EACH), (int(counts[0][day]), int(counts[1][day])))
        judge.look(words=False)
        assert judge.goal.z()[0] == pytest.approx(z[day])
        assert judge.goal.needed == pytest.approx(goals.ours()[day])


def test_the_ramp_is_scored_as_the_judge_stratifies():
    rng, judge = np.random.default_rng(1), _goal((0.01, 0.05, 0.25, 0.5, 1.0))
    n = np.array([600, 3000, 15_000, 30_000])
    ones = rng.binomial(n, 0.05, (2, 4))
    for stage in range(4):
        _feed(judge, stage, (n[stage], n[stage]), (ones[0, stage], ones[1, stage]))
    z = simpson._z(ones[1:].astype(float), n.astype(float), ones[:1].astype(float), n.astype(float))[0]
    assert judge.goal.z()[0] == pytest.approx(z)


def test_the_sample_ratio_is_scored_as_the_judge_tests_it():
    ones = np.random.default_rng(2).binomial(ratio.EACH, 0.515, (1, ratio.HOURS)).cumsum(axis=1)
    sequential, alarms = SampleRatio(), []
    for hour, count in enumerate(np.diff(ones[0], prepend=0)):
        sequential.add("0", (ratio.EACH - int(count), int(count)), (0.5, 0.5))
        alarms.append(sequential.evidence >= -math.log(ratio.ALPHA))
        if hour == 200:
            break
    assert ratio._evidence(ones)[0, :201].tolist() == alarms and any(alarms)


def test_rates_that_are_known():
    """27.7 % at 28 daily looks, 48 % where a ramp is pooled, 2.4 % where chi-squared is looked at hourly."""
    found = goals.measure(4000, 1)
    assert found["daily peeking"]["false_one_horizon"] == pytest.approx(0.277, abs=0.03)
    assert found["weigh"]["false_three_horizons"] < 0.055 and found["weigh"]["power"] == pytest.approx(0.77, abs=0.03)
    ramp = simpson.measure(4000, 1)
    assert ramp["pooled"] > 0.4 and ramp["weigh_equal_baseline"] < 0.06
    assert 0.01 < ratio.measure(1000, 1)["chi2_hourly_false"] < 0.04


def test_kayenta_without_tolerance_is_mann_whitney():
    rng = np.random.default_rng(0)
    canary, baseline = rng.standard_normal((40, 60)) + 0.4, rng.standard_normal((40, 60))
    p = stats.mannwhitneyu(canary, baseline, axis=1, use_continuity=False, method="asymptotic").pvalue
    clear = np.abs(p - 0.02) > 0.002
    assert np.array_equal(peers.kayenta(canary, baseline, tolerance=0.0)[clear], (p < 0.02)[clear])
    assert minutes.of_kayenta(200, 0)["kayenta_false_ar_0.8"] > 0.2


def test_growthbook_is_narrowest_about_its_tuning():
    """At 5,000 units, in standard errors: 3.03."""
    n = np.array([500.0, 5000.0, 50_000.0])
    found = peers.growthbook(n)
    assert found[1] == pytest.approx(3.03, abs=0.01) and found.argmin() == 1


def test_argo_and_flagger_count_as_their_documents_say():
    requests = np.full((2, 60), 100.0)
    errors = np.zeros((2, 60))
    errors[0, 5:25] = 10  # four measurements of five minutes fail: more than failureLimit 3
    errors[1, 5:20] = 10  # three do not
    assert peers.argo(errors, requests).tolist() == [24, -1]
    failed = np.zeros((3, 60, 5), dtype=bool)
    failed[0] = True
    failed[1, :4] = True
    failed[2, :, 4] = True  # fails at 50 % alone
    back, promoted = peers.flagger(failed)
    assert back.tolist() == [4, -1, 8] and promoted.tolist() == [-1, 8, -1]


def test_the_deployed_judge_in_a_few_rollouts():
    """No false verdict, five points caught within hours, a bad tail too; bench-rollout counts over many."""
    assert [releases.quiet(seed)[0] for seed in range(3)] == ["hold"] * 3
    verdict, hours, exposed = releases.planted(releases.RELEASES[3], 0)
    assert verdict == "roll back" and hours < 24 and exposed < 0.01
    assert releases.planted(releases.RELEASES[4], 0)[0] == "roll back"


def test_results_are_of_a_clean_commit_and_within_what_is_promised():
    from benchmarks._result import RESULTS

    kept = json.loads((RESULTS / "rollout.json").read_text())
    figures = kept["figures"]
    assert "+" not in kept["commit"], "commit first, then type `make bench-rollout`"
    assert figures["replays"] >= 2000 and figures["false_verdict_rate"] <= figures["alpha"]
    assert max(figures[name] for name in figures if name.startswith("false_ar_")) <= figures["alpha"]
    assert figures["naive_peeking_rate"] == pytest.approx(0.277, abs=0.01)
