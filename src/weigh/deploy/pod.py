"""The pod that serves one arm, the same for a Deployment and for KServe."""

from __future__ import annotations

from typing import Any

from weigh.deploy.plan import Arm, Plan

PORT = 8080
USER = 10001
"""Of the image's user; not root, and nobody on the node."""
LOG = "300MB"
"""Of each of three kinds of log, which a pod's folder has room for."""
LEAVE = 5
"""Seconds in which load balancers learn that a pod goes, before it is told to stop."""
SPARE = 10


def command(plan: Plan, arm: Arm) -> list[str]:
    """What runs in the image."""
    return [
        "weigh", "serve", f"/models/{arm.file}", "--name", plan.name, "--host", "0.0.0.0", "--port", str(PORT),
        "--state", "/state", "--log-most", LOG, "--threads", str(plan.threads), "--batching", plan.batching,
    ]  # fmt: skip


def container(plan: Plan, arm: Arm, name: str = "server") -> dict[str, Any]:
    """The server: probes, limits, no rights, and nothing to write but its own folders."""
    return {
        "name": name,
        "image": arm.image,
        "command": command(plan, arm),
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "env": [{"name": "HOME", "value": "/tmp"}, {"name": "OMP_NUM_THREADS", "value": str(plan.threads)}],
        "resources": {
            "requests": {"cpu": plan.cpu, "memory": plan.memory, "ephemeral-storage": "256Mi"},
            "limits": {"memory": plan.memory, "ephemeral-storage": "2Gi"},
        },
        "startupProbe": _probe("/v2/health/ready", period=2, failures=90),
        "readinessProbe": _probe("/v2/health/ready", period=5, failures=2),
        "livenessProbe": _probe("/v2/health/live", period=10, failures=6),
        "lifecycle": {"preStop": {"sleep": {"seconds": LEAVE}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "state", "mountPath": "/state"}, {"name": "tmp", "mountPath": "/tmp"}],
    }


def _probe(path: str, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": PORT}, "periodSeconds": period, "timeoutSeconds": 5,
        "failureThreshold": failures,
    }  # fmt: skip


def security() -> dict[str, Any]:
    """Of the pod: its user is not root, and owns what it mounts."""
    return {
        "runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip


def volumes() -> list[dict[str, Any]]:
    """The folders that it may write to; they go with the pod."""
    return [{"name": "state", "emptyDir": {"sizeLimit": "1Gi"}}, {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}}]


def scraping() -> dict[str, str]:
    """By which Prometheus finds the metrics."""
    return {"prometheus.io/scrape": "true", "prometheus.io/port": str(PORT), "prometheus.io/path": "/metrics"}


def grace(plan: Plan) -> int:
    """Seconds from the first word that a pod must go until it is killed."""
    return LEAVE + plan.drain + SPARE


def spec(plan: Plan, arm: Arm) -> dict[str, Any]:
    """The pod."""
    return {
        "automountServiceAccountToken": False, "terminationGracePeriodSeconds": grace(plan),
        "securityContext": security(), "containers": [container(plan, arm)], "volumes": volumes(),
    }  # fmt: skip
