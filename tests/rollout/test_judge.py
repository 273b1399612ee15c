"""The judge: its three verdicts, what it holds for, and that only the observations and the looks count."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from weigh.choice import UsageError
from weigh.rollout.judge import Judge, Verdict
from weigh.rollout.plan import RolloutPlan

PLAN = RolloutPlan(
    guardrails=[
        "error <= baseline + 0.02", "p95(latency) <= 1.5x baseline", "p50(latency) <= 1.5x baseline",
        "disagreement <= 0.1",
    ],
    goal="conversion > baseline", metrics=[{"name": "conversion"}], stages=(0.1, 0.5, 1.0), horizon=4000, least=50,
    memory=60.0,
)  # fmt: skip


def requests(
    seed: int, n: int, minutes: float, start: float = 0.0, **planted: float
) -> tuple[np.ndarray, np.ndarray, dict]:
    """Arms, times and values of n requests; planted: more errors, slower answers, more conversions of the canary."""
    rng = np.random.default_rng(seed)
    canary = rng.random(n) < 0.5
    slower = np.where(canary, planted.get("slower", 1.0), 1.0)
    values = {
        "error": (rng.random(n) < 0.02 + planted.get("errors", 0.0) * canary).astype(float),
        "latency": 20.0 * np.exp(0.4 * rng.standard_normal(n)) * slower,
        "disagreement": np.where(canary, rng.random(n) < 0.03, np.nan),
        "conversion": (rng.random(n) < 0.2 + planted.get("conversions", 0.0) * canary).astype(float),
    }
    return canary, (start + np.sort(rng.random(n)) * minutes) * 60.0, values


def rollout(
    plan: RolloutPlan, seed: int, days: int = 8, each: int = 2000, **planted: float
) -> tuple[Verdict, Judge, list]:
    """A rollout of so many half days, a look after each."""
    judge, stage, stages = Judge(plan), 0, []
    for day in range(days):
        canary, time, values = requests(100 * seed + day, each, 360, 720.0 * day, **planted)
        judge.add(stage, canary, time, values)
        judge.assign(stage, int((~canary).sum()), int(canary.sum()))
        said = judge.look()
        stages.append(stage)
        if said.verdict != "hold":
            break
        stage = said.stage
    return said, judge, stages


def test_a_better_release_ramps_and_ships():
    said, judge, stages = rollout(PLAN, 1, conversions=0.06)
    assert said.verdict == "ship" and said.share == 1.0 and "goal" in said.reason
    assert stages == sorted(stages) and set(stages) == {0, 1}
    assert {one.state for one in judge.standing()} == {"met"}
    goal = next(one for one in judge.standing() if one.kind == "goal")
    assert goal.span.low > 0.0 and goal.span.low < 0.06 < goal.span.high


def test_an_equal_release_is_held_for_its_goal_and_shipped_without_one():
    said, _, stages = rollout(PLAN, 2, days=8)
    assert said.verdict == "hold" and "not yet that conversion > baseline" in said.reason and stages[-1] == 1
    said, _, _ = rollout(PLAN.model_copy(update={"goal": None}), 2)
    assert said.verdict == "ship"


@pytest.mark.parametrize(
    ("planted", "named"),
    [({"errors": 0.1}, "error <="), ({"slower": 3.0}, "latency"), ({"conversions": -0.12}, "conversion > baseline")],
)
def test_harm_is_rolled_back_by_name(planted, named):
    said, judge, _ = rollout(PLAN, 3, **planted)
    assert said.verdict == "roll back" and said.share == 0.0 and named in said.reason
    assert judge.look() == said == judge.verdict()  # it stands


def test_harm_that_was_certified_once_is_not_forgotten_in_a_large_call():
    """Harm in the first 2,000 requests, then 30,000 without any: looked at only at the end."""
    first, later = requests(5, 2000, 60, errors=0.15), requests(6, 30_000, 900, 60.0)
    plan = RolloutPlan(guardrails=["error <= baseline + 0.02"], stages=(0.5, 1.0))
    judge = Judge(plan)
    judge.add(0, np.concatenate([first[0], later[0]]), np.concatenate([first[1], later[1]]),
              {"error": np.concatenate([first[2]["error"], later[2]["error"]])})  # fmt: skip
    assert judge.look().verdict == "roll back"


def test_the_calls_do_not_matter_only_observations_and_looks():
    """Request by request, in odd parts, and through JSON in between: the same verdicts and standings."""
    whole, single, parts = Judge(PLAN), Judge(PLAN), Judge(PLAN)
    for day in range(3):
        canary, time, values = requests(day, 500, 200, 200.0 * day)
        stage = min(day, 1)
        whole.add(stage, canary, time, values)
        for place in range(canary.size):
            one = {name: float(column[place]) for name, column in values.items() if not np.isnan(column[place])}
            single.add(stage, "canary" if canary[place] else "baseline", float(time[place]), one)
        for part in np.array_split(np.arange(canary.size), 11):
            parts.add(stage, canary[part], time[part], {name: column[part] for name, column in values.items()})
            parts = Judge(PLAN).restore(json.loads(json.dumps(parts.state())))
        assert whole.look() == single.look() == parts.look()
    for mine, other, third in zip(whole.standing(), single.standing(), parts.standing()):
        assert mine.state == other.state == third.state and mine.n == other.n == third.n
        assert mine.evidence == pytest.approx(other.evidence) == pytest.approx(third.evidence)


def test_a_look_after_every_request_rolls_back_no_other_release():
    canary, time, values = requests(9, 3000, 100, errors=0.08)
    plan = RolloutPlan(guardrails=["error <= baseline + 0.02"], stages=(0.5, 1.0))
    eager, patient = Judge(plan), Judge(plan)
    when = None
    for place in range(canary.size):
        eager.add(0, canary[place : place + 1], time[place], {"error": values["error"][place : place + 1]})
        if eager.look(words=False).verdict == "roll back":
            when = place
            break
    assert when is not None
    patient.add(0, canary[:when], time[:when], {"error": values["error"][:when]})
    assert patient.look().verdict == "hold"
    patient.add(0, canary[when:], time[when:], {"error": values["error"][when:]})
    assert patient.look().verdict == "roll back"


def test_low_traffic_and_missing_metrics_are_held_never_passed():
    judge = Judge(PLAN)
    assert "low traffic" in judge.look().reason
    canary, time, values = requests(1, 20_000, 720)
    judge.add(0, canary, time, {name: one for name, one in values.items() if name != "conversion"})
    first = judge.look()
    assert first.verdict == "hold" and first.move == "advance"  # its guardrails are there, the goal may come later
    lost = np.where(np.arange(canary.size) % 2, values["latency"], np.nan)
    judge = Judge(PLAN)
    judge.add(0, canary, time, {**values, "latency": lost})
    assert judge.look().move == "stay" and "records are lost" in judge.look().reason
    judge = Judge(PLAN.model_copy(update={"guardrails": (*PLAN.guardrails[:1], PLAN.guardrails[0].model_copy(
        update={"text": "conversion >= baseline - 0.05"}))}))  # fmt: skip
    known = np.where(canary & (np.arange(canary.size) % 3 == 0), np.nan, values["conversion"])
    judge.add(0, canary, time, {**values, "conversion": known})
    assert "conversion is known of 100.0% of the baseline's requests" in judge.look().reason


def test_an_early_stage_certifies_loosely_and_the_last_at_the_margin():
    """True harm of 4 points, a margin of 2: a tenth of the traffic may have it (0.4 of 2), all of it may not."""
    plan = RolloutPlan(guardrails=["error <= baseline + 0.02"], stages=(0.05, 0.1, 0.5, 1.0), least=50)
    canary, time, values = requests(4, 3000, 100, errors=0.04)
    judge = Judge(plan)
    judge.add(0, canary, time, {"error": values["error"]})
    said = judge.look()
    assert (said.verdict, said.move, said.share) == ("hold", "advance", 0.1)
    assert not judge.guards[0].safe(0.5) and not judge.guards[0].safe(1.0)
    for day in range(4):
        canary, time, values = requests(40 + day, 20_000, 100, 100.0 + day, errors=0.04)
        judge.add(1, canary, time, {"error": values["error"]})
    assert judge.look().verdict == "roll back"


def test_a_sample_ratio_that_is_off_stops_the_test():
    said, judge, _ = rollout(PLAN, 1, days=1, conversions=0.06)
    assert said.verdict == "hold" and judge.look().move == "advance"
    judge.assign(1, 9_000, 10_000)
    said = judge.look()
    assert said.verdict == "hold" and said.move == "stay" and said.reason.startswith("sample ratio")
    canary, time, values = requests(77, 30_000, 2000, 5000.0, conversions=0.06)
    judge.add(1, canary, time, values)
    judge.assign(1, 10_000, 9_000)  # evens out, but it stays stopped
    assert judge.look().verdict == "hold"
    assert next(one for one in judge.standing() if one.kind == "sample ratio").evidence != 0.0


def test_shadow_copies_are_judged_by_what_the_server_knows():
    plan = RolloutPlan(
        guardrails=["error <= baseline + 0.02", "disagreement <= 0.1", "conversion >= baseline - 0.05"], shadow=True,
        metrics=[{"name": "conversion"}], stages=(0.1, 1.0), least=50,
    )  # fmt: skip
    canary, time, values = requests(1, 4000, 100)
    judge = Judge(plan)
    judge.add(0, canary, time, {name: values[name] for name in ("error", "disagreement")})
    said = judge.look()
    assert (said.move, said.share, said.stage) == ("advance", 0.1, 1)
    judge.add(1, canary, time, {name: values[name] for name in ("error", "disagreement")})
    assert "show conversion" in judge.look().reason


def test_late_feedback_pairs_within_its_own_stage():
    """Conversions that come after the next stage began; the base rate doubled with it, and no difference is found."""
    plan = RolloutPlan(
        guardrails=["conversion >= baseline - 0.1"], metrics=[{"name": "conversion"}], stages=(0.1, 0.5, 1.0), least=10
    )
    rng, judge = np.random.default_rng(0), Judge(plan)
    early, late = rng.random(2000) < 0.5, rng.random(2000) < 0.5
    first, second = rng.random(2000) < 0.2, rng.random(2000) < 0.4
    for start in range(0, 2000, 100):
        part = slice(start, start + 100)
        judge.add(1, late[part], 1e4 + start, {"conversion": second[part]})
        judge.add(0, early[part], 1e4 + start, {"conversion": first[part]})
    pairs = judge.guards[0]._pairs
    assert set(pairs) == {0, 1}
    span = judge.standing()[0].span
    assert span.low < 0.0 < span.high and span.high - span.low < 0.15


def test_whole_distributions_are_compared_at_every_quantile():
    """The canary's median is as ever, its slowest tenth three times as slow: harm, and not at p50."""
    plan = RolloutPlan(guardrails=["latency <= 1.5x baseline"], stages=(0.5, 1.0), memory=60.0)
    for slow, verdict in ((1.0, "ship"), (3.0, "roll back")):
        canary, time, values = requests(8, 14_000, 1000)
        latency = values["latency"]
        latency = np.where(canary & (latency > np.quantile(latency, 0.9)), latency * slow, latency)
        judge = Judge(plan)
        judge.add(0, canary, time, {"latency": latency})
        said = judge.look()
        assert said.verdict == verdict, said.reason
    assert "p9" in said.reason


def test_a_clock_that_goes_backwards_adds_to_the_open_window():
    plan = RolloutPlan(guardrails=["p50(latency) <= 1.5x baseline"], stages=(0.5, 1.0))
    judge = Judge(plan)
    for time in (600.0, 30.0, 610.0, 0.0, 700.0):
        judge.add(0, np.array([True, False]), time, {"latency": [20.0, 20.0]})
    assert judge.guards[0]._key == [0, 11]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda judge: judge.add(7, "canary", 0.0, {"error": 0}), "no stage 7"),
        (lambda judge: judge.add(0, "canari", 0.0, {"error": 0}), "no arm canari"),
        (lambda judge: judge.add(0, "canary", math.nan, {"error": 0}), "monotonic clock"),
        (lambda judge: judge.add(0, "canary", 0.0, {"error": 2}), "does not lie in \\[0, 1\\]"),
        (lambda judge: judge.add(0, "canary", 0.0, {"latency": math.inf}), "does not lie in"),
        (lambda judge: judge.add(0, ["canary"] * 2, 0.0, {"error": [0]}), "2 observations"),
        (lambda judge: judge.begin(9), "goes from stage 0"),
        (lambda judge: judge.restore({"plan": "another"}), "of another plan"),
        (lambda judge: judge.restore({}), "cannot be restored"),
        (lambda judge: judge.assign(0, -1, 3), "one count from 0"),
    ],
)
def test_what_cannot_be_taken_is_refused_and_changes_nothing(call, said):
    judge = Judge(PLAN)
    before = json.dumps(judge.state())
    with pytest.raises(ValueError, match=said):
        call(judge)
    assert json.dumps(judge.state()) == before
    assert issubclass(UsageError, ValueError)
