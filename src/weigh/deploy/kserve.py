"""KServe: an InferenceService, whose newest revision gets the canary's share of the requests.

KServe has no champion and challenger side by side in one manifest: it keeps the revision that was rolled out before,
and `canaryTrafficPercent` is what the one in the manifest gets. So the manifest of a rollout holds the challenger, and
is applied after that of the champion.
"""

from __future__ import annotations

from typing import Any

from weigh.deploy.plan import Arm, Plan
from weigh.deploy.pod import container, grace, scraping, security, volumes


def manifests(plan: Plan) -> list[dict[str, Any]]:
    """The champion's, then the challenger's with its share, in the order in which they are applied."""
    first = _service(plan, "champion", plan.champion, None)
    return [first] if plan.challenger is None else [first, _service(plan, "challenger", plan.challenger, plan.share)]


def _service(plan: Plan, role: str, arm: Arm, percent: int | None) -> dict[str, Any]:
    meta = plan.meta(plan.label, role, arm)
    meta["annotations"] = {"autoscaling.knative.dev/target-utilization-percentage": str(plan.utilisation)} | meta.get(
        "annotations", {}
    )
    predictor: dict[str, Any] = {
        "minReplicas": plan.replicas, "maxReplicas": plan.most_replicas, "annotations": scraping(),
        "automountServiceAccountToken": False, "terminationGracePeriodSeconds": grace(plan),
        "securityContext": security(), "volumes": volumes(),
        "containers": [container(plan, arm, "kserve-container")],
    }  # fmt: skip
    if percent is not None:
        predictor["canaryTrafficPercent"] = percent
    return {
        "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": meta,
        "spec": {"predictor": predictor},
    }  # fmt: skip
