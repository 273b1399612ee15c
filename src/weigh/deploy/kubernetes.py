"""Plain Kubernetes: a Deployment an arm, with its service, autoscaler and disruption budget, and a route with weights.

Weights of a gateway split requests, not users: where the same user must meet the same arm, the split is the server's
own (`weigh rollout`), and the route leads to the champion alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from weigh.choice import UsageError
from weigh.deploy.plan import Arm, Plan
from weigh.deploy.pod import PORT, scraping, spec


def manifests(plan: Plan) -> list[dict[str, Any]]:
    """Everything, champion and challenger beside each other on the same cluster.

    Raises:
        UsageError: a share of the requests is asked for, and there is no gateway to route it.
    """
    if plan.share and not plan.gateway:
        raise UsageError(
            f"--share {plan.share} takes a gateway that splits requests: type --gateway NAME, or leave --share out and "
            "start `weigh rollout` in the champion's pod"
        )
    made = [one for role, arm in plan.arms().items() for one in _arm(plan, role, arm)]
    return [*made, _route(plan)] if plan.gateway else made


def _arm(plan: Plan, role: str, arm: Arm) -> Iterator[dict[str, Any]]:
    name = f"{plan.label}-{role}"
    yield {  # how many pods there are is the autoscaler's: a number here would undo its work with each apply
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": plan.meta(name, role, arm),
        "spec": {
            "selector": {"matchLabels": plan.labels(role)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": plan.labels(role, arm), "annotations": scraping()},
                "spec": {**spec(plan, arm), "topologySpreadConstraints": [_spread(plan, role)]},
            },
        },
    }  # fmt: skip
    yield {
        "apiVersion": "v1", "kind": "Service", "metadata": plan.meta(name, role),
        "spec": {
            "selector": plan.labels(role),
            "ports": [{"name": "http", "port": 80, "targetPort": PORT, "protocol": "TCP"}],
        },
    }  # fmt: skip
    yield _autoscaler(plan, name, role)
    yield {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": plan.meta(name, role),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": plan.labels(role)}},
    }  # fmt: skip


def _spread(plan: Plan, role: str) -> dict[str, Any]:
    return {
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": plan.labels(role)},
    }  # fmt: skip


def _autoscaler(plan: Plan, name: str, role: str) -> dict[str, Any]:
    used = {"type": "Utilization", "averageUtilization": plan.utilisation}
    return {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": plan.meta(name, role),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": plan.replicas, "maxReplicas": plan.most_replicas,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": used}}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
        },
    }  # fmt: skip


def _route(plan: Plan) -> dict[str, Any]:
    """Gateway API: who gets which share of the requests."""
    weights = {"champion": 100 - plan.share, "challenger": plan.share}
    backends = [
        {"name": f"{plan.label}-{role}", "port": 80, "weight": weights[role]} for role in plan.arms()
    ]  # fmt: skip
    spec: dict[str, Any] = {
        "parentRefs": [{"name": plan.gateway}],
        "rules": [
            {"matches": [{"path": {"type": "PathPrefix", "value": f"/v2/models/{plan.name}"}}], "backendRefs": backends}
        ],
    }
    if plan.host:
        spec["hostnames"] = [plan.host]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": plan.meta(plan.label),
        "spec": spec,
    }  # fmt: skip
