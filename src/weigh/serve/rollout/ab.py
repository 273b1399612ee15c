"""A sequential A/B test: half of the users each, from the first minute on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weigh.serve.rollout import Outcome, Release
from weigh.serve.rollout._judged import judged

if TYPE_CHECKING:
    from weigh.serve.rollout._traffic import Traffic


class AB(Release):
    """A sequential A/B test: half of the traffic each from the start, until guardrails and goal are decided.

    Good where the question is which version is better, and a bad one does little harm: no design has more power. Bad
    where a bad release is dear: half of the users meet it until it is told.

    Source: Lan and DeMets, Biometrika 70, 1983 (spending up to the horizon); Robbins, 1970 (the reserve beyond it).
    """

    def release(self, traffic: Traffic) -> Outcome:
        return judged(traffic, traffic.plan.model_copy(update={"stages": (0.5, 1.0)}))
