"""KubeRay: a RayService, whose application is weigh's own server in every replica."""

from __future__ import annotations

from typing import Any

from weigh.deploy.plan import Arm, Plan
from weigh.deploy.pod import scraping, security

RAY = "2.60.0"
HEAD = {"cpu": "1", "memory": "2Gi"}
PORTS = {"gcs-server": 6379, "dashboard": 8265, "client": 10001, "serve": 8000}


def manifests(plan: Plan) -> list[dict[str, Any]]:
    """One RayService, whose image has all models; a challenger's share is in the routing that all replicas are told."""
    return [
        {
            "apiVersion": "ray.io/v1", "kind": "RayService", "metadata": plan.meta(plan.label),
            "spec": {
                "serviceUnhealthySecondThreshold": 900, "deploymentUnhealthySecondThreshold": 300,
                "serveConfigV2": _applications(plan), "rayClusterConfig": _cluster(plan),
            },
        }
    ]  # fmt: skip


def routing(plan: Plan) -> dict[str, Any]:
    """Who answers, as `weigh.server.routing.Routing` has it."""
    made: dict[str, Any] = {"revision": 0, "champion": {"path": f"/models/{plan.champion.file}"}}
    if plan.challenger is not None and plan.share:
        made["challenge"] = {
            "id": f"{plan.label}-{plan.challenger.version}", "mode": "split", "share": plan.share / 100,
            "challenger": {"path": f"/models/{plan.challenger.file}"},
        }  # fmt: skip
    return made


def _applications(plan: Plan) -> str:
    import yaml

    args = {
        "model": f"/models/{plan.champion.file}", "name": plan.name, "state": "/tmp/weigh-serve",
        "threads": plan.threads, "batching": plan.batching,
    }  # fmt: skip
    deployment = {
        "name": "Server", "user_config": routing(plan), "ray_actor_options": {"num_cpus": plan.threads},
        "autoscaling_config": {
            "min_replicas": plan.replicas, "max_replicas": plan.most_replicas, "target_ongoing_requests": 8,
        },
        "graceful_shutdown_timeout_s": plan.drain, "health_check_period_s": 30, "health_check_timeout_s": 120,
    }  # fmt: skip
    one = {
        "name": plan.label, "route_prefix": "/", "import_path": "weigh.deploy.ray_app:build", "args": args,
        "deployments": [deployment],
    }  # fmt: skip
    http = {"host": "0.0.0.0", "port": PORTS["serve"]}
    text: str = yaml.safe_dump({"http_options": http, "applications": [one]}, sort_keys=False)
    return text


def _cluster(plan: Plan) -> dict[str, Any]:
    worker = {"cpu": str(plan.threads), "memory": "2Gi"}
    return {
        "rayVersion": RAY,
        "enableInTreeAutoscaling": True,
        "headGroupSpec": {
            "rayStartParams": {"dashboard-host": "0.0.0.0", "num-cpus": "0"},
            "template": _template(plan, plan.champion, "ray-head", HEAD, PORTS),
        },
        "workerGroupSpecs": [
            {
                "groupName": "servers", "replicas": plan.replicas, "minReplicas": plan.replicas,
                "maxReplicas": plan.most_replicas,
                "rayStartParams": {"num-cpus": str(plan.threads)},
                "template": _template(plan, plan.champion, "ray-worker", worker, {}),
            }
        ],
    }  # fmt: skip


def _template(plan: Plan, arm: Arm, name: str, size: dict[str, str], ports: dict[str, int]) -> dict[str, Any]:
    """A pod of the cluster: Ray writes below /tmp alone."""
    own: dict[str, Any] = {
        "name": name, "image": arm.image,
        "env": [{"name": "HOME", "value": "/tmp"}, {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"}],
        "resources": {"requests": size, "limits": {"memory": size["memory"]}},
        "lifecycle": {"preStop": {"exec": {"command": ["/bin/sh", "-c", "ray stop"]}}},
        "securityContext": {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }  # fmt: skip
    if ports:
        own["ports"] = [{"containerPort": port, "name": key} for key, port in ports.items()]
    return {
        "metadata": {
            "labels": plan.labels("", arm), "annotations": {**scraping(), "prometheus.io/port": "8080"},
        },
        "spec": {
            "automountServiceAccountToken": False, "terminationGracePeriodSeconds": plan.drain + 15,
            "securityContext": security(), "containers": [own], "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }  # fmt: skip
