"""A canary whose share rises as the evidence allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weigh.serve.rollout import Outcome, Release
from weigh.serve.rollout._judged import judged

if TYPE_CHECKING:
    from weigh.serve.rollout._traffic import Traffic


class Canary(Release):
    """A ramp: the share rises only when harm at the next share is certified to lie within what is tolerated of all.

    A fresh baseline of the same share starts with it; anytime-valid bets roll back at once on certified harm. Good
    where a bad release is dear: hardly anyone meets it. Bad where traffic is low: a small share of little takes long,
    and what cannot be told is held.

    Source: Lindon, Sanden and Shirikian, Rapid regression detection in software deployments through sequential testing,
    KDD 2022 (arXiv 2205.14762); Davidovic and Beyer, Canary analysis service, ACM Queue 16, 2018.
    """

    def release(self, traffic: Traffic) -> Outcome:
        return judged(traffic, traffic.plan)
