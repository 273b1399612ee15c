"""Kubernetes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from pydantic import Field

from weigh.choice import Needs, Unfit
from weigh.serve.platform import Platform, Running, Served, _v2
from weigh.serve.platform._environment import Beside
from weigh.serve.platform._load import request
from weigh.serve.platform._process import Program

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.model.source import Source

FORWARDING = r"Forwarding from (127\.0\.0\.1:\d+)"


@final
class OfCluster(Beside):
    """A cluster that kubectl knows, beside what else is needed."""

    def missing(self) -> list[str]:
        reasons = super().missing()
        if not reasons and not context():
            reasons.append(
                "kubectl has no context, so that it knows no cluster: kubectl config use-context NAME, or KUBECONFIG"
            )
        return reasons


def context() -> str:
    """The cluster of kubectl's context; empty where there is none."""
    done = subprocess.run([shutil.which("kubectl") or "false", "config", "current-context"], capture_output=True)
    return done.stdout.decode().strip() if done.returncode == 0 else ""


@final
class Kubernetes(Platform):
    """Kubernetes: weigh's server in pods of a cluster, as a Deployment or under KServe, with an autoscaler.

    Good where a cluster is there: pods are started anew when they fail, follow the load, and are replaced one by one.
    The image holds the model: `weigh deploy` writes what it is built from. Requests are measured at `url`, or over a
    forwarded port, which leads to one pod and ends with it.

    Source: Kubernetes, Deployments and Horizontal Pod Autoscaling; KServe, InferenceService v1beta1.
    """

    needs: ClassVar[Needs] = OfCluster(
        programs=("kubectl",), how="install it (kubernetes.io/docs/tasks/tools), and give it the context of a cluster"
    )

    image: str = Field("", description="that was built and pushed from what `weigh deploy` wrote, without a tag")
    kind: Literal["kubernetes", "kserve"] = Field("kubernetes", description="which manifests")
    namespace: str = Field("default", description="where pods are started")
    replicas: int = Field(1, ge=1, description="pods")
    url: str = Field("", description="where the cluster answers; over a forwarded port when empty")

    def start(self, served: Served, folder: Path) -> Running:
        if not self.image:
            raise Unfit(
                "a cluster takes the model in an image: build and push it from what `weigh deploy MODEL --platform "
                "kubernetes --to FOLDER` writes, then type kubernetes:image=REGISTRY/NAME"
            )
        return Started(self, served, folder)


@final
class Started(Running):
    """Pods of a cluster, and a port that leads to them.

    Attributes:
        started: seconds from applying the manifests to the first answer.
    """

    def __init__(self, option: Kubernetes, served: Served, folder: Path) -> None:
        self._option, self._served, self._folder = option, served, folder
        self._forward: Program | None = None
        began = time.perf_counter()
        self._deploy()
        try:
            self._wait(served.seconds)
            self.url = option.url or self._forwarded(served.seconds)
            self._infer = f"{self.url}/v2/models/{served.name}/infer"
            self._metadata = json.loads(_v2.ask(f"{self.url}/v2/models/{served.name}"))
            _v2.ask(self._infer, _v2.body(served.example, self._names))
        except BaseException:
            self.close()
            raise
        self.started = time.perf_counter() - began
        self._output = served.source.outputs[0].name if served.source.outputs else ""

    def _deploy(self) -> None:
        """Manifests are rendered, checked and applied by `weigh deploy`."""
        source, option = self._served.source, self._option
        words = [
            sys.executable, "-m", "weigh", "deploy", str(source.path.absolute()), "--platform", option.kind, "--to",
            str(self._folder / "deployed"), "--image", option.image, "--namespace", option.namespace, "--name",
            self._served.name, "--replicas", str(option.replicas), "--most-replicas", str(option.replicas),
            "--threads", str(self._served.threads), "--apply",
        ]  # fmt: skip
        words += ["--architecture", source.architecture] if source.architecture else []
        done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise RuntimeError(f"weigh deploy ended with an error: {' '.join(done.stderr.split())[-500:]}")

    def _kubectl(self, *words: str) -> str:
        done = subprocess.run(
            ["kubectl", "--namespace", self._option.namespace, *words], capture_output=True, text=True
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"kubectl {' '.join(words[:3])}: {' '.join(done.stderr.split())[-400:]}")
        return done.stdout

    @property
    def _object(self) -> str:
        if self._option.kind == "kserve":
            return f"inferenceservice/{self._served.name}"
        return f"deployment/{self._served.name}-champion"

    def _wait(self, seconds: float) -> None:
        if self._option.kind == "kserve":
            self._kubectl("wait", "--for=condition=Ready", self._object, f"--timeout={seconds:g}s")
        else:
            self._kubectl("rollout", "status", self._object, f"--timeout={seconds:g}s")

    def _forwarded(self, seconds: float) -> str:
        name = self._served.name
        service = f"service/{name}-predictor" if self._option.kind == "kserve" else f"service/{name}-champion"
        self._forward = Program(
            ["kubectl", "--namespace", self._option.namespace, "port-forward", service, ":80"],
            self._folder / "forward.log", None, "kubectl port-forward",
        )  # fmt: skip
        return f"http://{self._forward.told(FORWARDING, seconds)[1]}"

    @property
    def _names(self) -> list[str]:
        return [one["name"] for one in self._metadata["inputs"]]

    def request(self, feed: Mapping[str, NDArray[Any]]) -> bytes:
        return request(self._infer, _v2.body(feed, self._names))

    def answer(self, body: bytes) -> NDArray[np.float32]:
        return _v2.answer(body, self._output)

    def swap(self, source: Source) -> None:
        """All pods are replaced, one by one, as another image would replace them."""
        if self._option.kind == "kserve":
            stamp = {"spec": {"predictor": {"annotations": {"weigh/restarted": str(time.time())}}}}
            self._kubectl("patch", self._object, "--type=merge", f"--patch={json.dumps(stamp)}")
        else:
            self._kubectl("rollout", "restart", self._object)
        self._wait(self._served.seconds)

    def memory_mb(self) -> float:
        """What the cluster's metrics say that its pods take, in MB."""
        told = self._kubectl("top", "pod", "--no-headers", f"--selector=app.kubernetes.io/name={self._served.name}")
        return sum(_bytes(line.split()[2]) for line in told.splitlines() if line.strip()) / 1e6

    def roots(self) -> list[int]:
        return [self._forward.pid] if self._forward is not None else []

    def close(self) -> None:
        if self._forward is not None:
            self._forward.close()
        self._kubectl("delete", "--ignore-not-found", "-f", str(self._folder / "deployed" / "manifests"))


def _bytes(text: str) -> float:
    """A quantity of memory.

    >>> _bytes("128Mi"), _bytes("2Gi"), _bytes("900")
    (134217728.0, 2147483648.0, 900.0)
    """
    units = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "k": 1e3, "M": 1e6, "G": 1e9}
    for unit, size in units.items():
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * size
    return float(text)
