"""Plans: what is read, what comes back, what is refused."""

from __future__ import annotations

import pytest

from weigh.choice import UsageError
from weigh.rollout.plan import Goal, Guardrail, Metric, RolloutPlan

REVENUE = Metric(name="revenue", low=0.0, high=50.0, unit="EUR")
FULL = {
    "guardrails": [
        "error <= baseline + 0.005", "p99(latency) <= 1.1x baseline", "p99.9(latency) <= 0.08 s",
        "latency <= 1.3x baseline",
        "disagreement <= 2 %", "revenue >= baseline - 0.5", {"text": "revenue >= 3", "by_window": True},
    ],
    "goal": "revenue > baseline", "metrics": [REVENUE], "alpha": 0.02, "shadow": True,
}  # fmt: skip


def test_a_plan_survives_json_and_yaml():
    plan = RolloutPlan.parse(**FULL)
    assert RolloutPlan.model_validate_json(plan.model_dump_json()) == plan
    assert RolloutPlan.from_yaml(plan.to_yaml()) == plan
    assert plan.shares == (0.0, 0.01, 0.05, 0.25, 0.5)


def test_units_are_converted_and_kinds_are_told():
    plan = RolloutPlan.parse(**FULL)
    bounds = [one.read(plan.metric(one.metric)).bound for one in plan.guardrails]
    assert bounds == pytest.approx([0.005, 1.1, 80.0, 1.3, 0.02, -0.5, 3.0])
    assert [one.windowed for one in plan.guardrails] == [False, True, True, True, False, False, True]
    assert [one.quantile for one in plan.guardrails[1:4]] == [0.99, 0.999, None]
    assert Goal(text="latency < baseline").read(plan.metric("latency")).op == "<="
    assert Guardrail(text="revenue >= 3").shadowed is False


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"guardrails": []}, "without a guardrail ships unseen"),
        ({"guardrails": ["error <= baseline"]}, "compares means by ratio.*error <= baseline \\+ 0.005"),
        ({"guardrails": ["error <= baseline - 0.01"]}, "allows no harm at all.*or state an improvement as the goal"),
        ({"guardrails": ["p99(latency) <= baseline"]}, "allows no harm at all.*p99\\(latency\\) <= 1.1x baseline"),
        ({"guardrails": ["p99(latency) >= 1.1x baseline"]}, "asks for slow answers"),
        ({"guardrails": ["latency <= 80 ms"]}, "type 'p99\\(latency\\) <= 80 ms'"),
        ({"guardrails": ["error < 0.01"]}, "type 'error <= 0.01'"),
        ({"guardrails": ["error <= 1.5x baseline"]}, "compares means by ratio"),
        ({"guardrails": ["clicks >= 0.1"]}, "nothing is known of the metric 'clicks'"),
        ({"guardrails": ["error <= 0.01", "error <= 0.01"]}, "stated twice"),
        ({"goal": "error < 0.1"}, "less or more|cannot be read"),
        ({"goal": "disagreement <= 0.1"}, "not set against the baseline"),
        ({"stages": [0.1, 0.6, 1.0]}, "no equal baseline is left"),
        ({"stages": [0.5, 0.1, 1.0]}, "do not rise"),
        ({"stages": [0.1, 0.5]}, "do not rise to all of the traffic"),
        ({"metrics": [{"name": "error"}]}, "known already"),
        ({"metrics": [{"name": "money", "low": 1, "high": 1}]}, "empty"),
        ({"alpha": 0.7}, "alpha must be less than 0.5"),
        ({"guard_rails": []}, "there is no 'guard_rails' here"),
    ],
)
def test_what_cannot_work_is_refused_in_words(changed, said):
    with pytest.raises(UsageError, match=said):
        RolloutPlan.parse(**{"guardrails": ["error <= baseline + 0.01"], **changed})


@pytest.mark.parametrize("text", ["", "- a", "guardrails: [", "12"])
def test_what_is_no_plan_is_refused(text):
    with pytest.raises(UsageError, match="plan"):
        RolloutPlan.from_yaml(text)
