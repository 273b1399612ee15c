"""Copies of requests that no user sees, then all traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from weigh.choice import Unfit
from weigh.serve.rollout import Outcome, Release

if TYPE_CHECKING:
    from weigh.serve.rollout._traffic import Traffic


class Shadow(Release):
    """The new version answers copies of requests; it is shipped when its errors are certified on them.

    Good for what the server itself can see: a crash is found before any user meets it. Bad for what only users show
    (whether they buy) and for times, since copies give way to users' requests: of those copies say nothing, and a
    release that is worse there is shipped. It costs the compute of the copies.

    Source: Istio, Mirroring, istio.io/latest/docs/tasks/traffic-management/mirroring; Sculley et al., Hidden technical
    debt in machine learning systems, NeurIPS 2015.
    """

    share: float = Field(0.5, gt=0, le=0.5, description="share of the requests that are copied")

    def release(self, traffic: Traffic) -> Outcome:
        from weigh.rollout.judge import Judge

        plan = traffic.plan
        served = tuple(one for one in plan.guardrails if one.shadowed)
        if not served:
            raise Unfit("copies show errors alone, and no guardrail bounds those: state one, or use canary")
        copies = plan.model_copy(update={"guardrails": served, "goal": None, "shadow": True, "stages": (0.5, 1.0)})
        judge = Judge(copies)
        while (seen := traffic.serve(self.share, self.share, shadow=True)) is not None:
            judge.add(0, seen.canary, seen.time, seen.values)
            if judge.look(words=False).verdict == "roll back":
                return "roll back"
            if not judge.missing() and all(one.safe(1.0) for one in judge.guards):
                return "ship"
        return "hold"
