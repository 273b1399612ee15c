"""Ray Serve."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

from pydantic import Field

from weigh.choice import Needs
from weigh.serve.platform import Platform, Running, Served, _v2
from weigh.serve.platform._environment import Beside, python_of
from weigh.serve.platform._load import request
from weigh.serve.platform._ports import free_ports
from weigh.serve.platform._process import Program

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.model.source import Source

DRIVER = "weigh.deploy.ray_driver"


@final
class RayServe(Platform):
    """Ray Serve: the same server in replicas on a cluster, behind Ray's proxies, as many as the load calls for.

    Good beyond one machine: replicas follow the load, and a challenger's share is changed without starting anything
    anew. On one machine it costs two more hops a request, and over a gigabyte of memory.

    Source: Moritz et al., Ray (OSDI 2018, arXiv 1712.05889); Ray Serve documentation (docs.ray.io).
    """

    needs: ClassVar[Needs] = Beside(environments=("ray",))

    address: str = Field("local", description="of the cluster, HOST:PORT; local: Ray is started on this machine")
    replicas: int = Field(1, ge=1, description="replicas; the fewest where most_replicas is more")
    most_replicas: int = Field(0, ge=0, description="replicas that load may call for; 0: always `replicas`")
    cpus: float = Field(1.0, ge=0, description="that Ray sets aside for a replica")

    def start(self, served: Served, folder: Path) -> Running:
        return Started(self, served, folder)


@final
class Started(Running):
    """The driver of an application.

    Attributes:
        started: seconds from the driver's start to the first answer; of ``local`` Ray itself is started in them.
    """

    def __init__(self, option: RayServe, served: Served, folder: Path) -> None:
        self._served, self._revision = served, 0
        port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{port}"
        self._infer = f"{self.url}/v2/models/{served.name}/infer"
        args = {
            "model": str(served.source.path.absolute()), "architecture": served.source.architecture,
            "name": served.name, "state": str(folder / "state"), "threads": served.threads,
            "replicas": option.replicas, "most_replicas": option.most_replicas, "cpus": option.cpus,
        }  # fmt: skip
        more = {"RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "disabled"), "RAY_USAGE_STATS_ENABLED": "0"}
        self._program = Program(
            [str(python_of("ray")), "-m", DRIVER], folder / "ray.log", more if option.address == "local" else {},
            "Ray Serve", answers=True,
        )  # fmt: skip
        try:
            self._told({"args": args, "port": port, "address": option.address}, served.seconds)
            self._metadata = json.loads(_v2.ask(f"{self.url}/v2/models/{served.name}"))
            _v2.ask(self._infer, _v2.body(served.example, self._names))
            self.started = time.perf_counter() - self._program.began
        except BaseException:
            self.close()
            raise
        self._output = served.source.outputs[0].name if served.source.outputs else ""

    def _told(self, line: Mapping[str, Any], seconds: float) -> None:
        answer = json.loads(self._program.ask(json.dumps(line), seconds))
        if "error" in answer:
            raise RuntimeError(f"Ray Serve does not serve {self._served.source.path}: {answer['error']}")

    @property
    def _names(self) -> list[str]:
        return [one["name"] for one in self._metadata["inputs"]]

    def request(self, feed: Mapping[str, NDArray[Any]]) -> bytes:
        return request(self._infer, _v2.body(feed, self._names))

    def answer(self, body: bytes) -> NDArray[np.float32]:
        return _v2.answer(body, self._output)

    def swap(self, source: Source) -> None:
        """Another routing in `user_config`: replicas load the model, then answer with it."""
        self._revision += 1
        champion = {"path": str(source.path.absolute()), "architecture": source.architecture}
        self._told({"revision": self._revision, "champion": champion}, self._served.seconds)

    def share(self, challenger: Source, share: float) -> None:
        """Send a share of the units to a challenger, in every replica alike."""
        self._revision += 1
        first, other = (
            {"path": str(one.path.absolute()), "architecture": one.architecture}
            for one in (self._served.source, challenger)
        )
        challenge = {"id": "weighed", "challenger": other, "mode": "split", "share": share}
        self._told({"revision": self._revision, "champion": first, "challenge": challenge}, self._served.seconds)

    def roots(self) -> list[int]:
        return [self._program.pid]

    def close(self) -> None:
        self._program.close()
