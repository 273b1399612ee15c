"""weigh's own server."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from pydantic import Field

from weigh.serve.platform import Platform, Running, Served, _v2
from weigh.serve.platform._load import request
from weigh.serve.platform._process import Program

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.model.source import Source


@final
class Local(Platform):
    """weigh's own server on this machine: `weigh serve`, the embedded default.

    Good for one machine: a model that answers in less than 2 ms runs in the process that reads requests, others in one
    of their own; predictions are logged before they are sent, and the model is changed without a failed request.

    Bad beyond one machine: it starts no replicas elsewhere; that is for ray_serve and kubernetes.

    Source: KServe, Open Inference Protocol v2; the ASGI specification 3.0.
    """

    batching: str = Field("single", description="how requests are gathered for a run: an option of serve/batching")

    def start(self, served: Served, folder: Path) -> Running:
        return Started(self.batching, served, folder)


@final
class Started(Running):
    """`weigh serve` as a process.

    Attributes:
        started: seconds from its start to its first answer.
    """

    def __init__(self, batching: str, served: Served, folder: Path) -> None:
        self._name, self._state = served.name, folder / "state"
        self._program = Program(
            [
                sys.executable, "-m", "weigh", "serve", str(served.source.path.absolute()), "--name", served.name,
                "--port", "0", "--threads", str(served.threads), "--batching", batching, "--state", str(self._state),
                *(["--architecture", served.source.architecture] if served.source.architecture else []),
            ],
            folder / "serve.log", {"PYTHONPATH": ":".join(filter(None, sys.path))}, "weigh serve",
        )  # fmt: skip
        try:
            self.url = self._address(served.seconds)
            self._infer = f"{self.url}/v2/models/{served.name}/infer"
            self._metadata = self._told(served.seconds)
            _v2.ask(self._infer, _v2.body(served.example, self._names))
            self.started = time.perf_counter() - self._program.began
        except BaseException:
            self.close()
            raise
        self._output = served.source.outputs[0].name if served.source.outputs else ""

    def _address(self, seconds: float) -> str:
        """Where it listens, as it writes into its folder."""
        until, file = time.monotonic() + seconds, self._state / "server.json"
        while not file.is_file():
            self._program.need_alive()
            if time.monotonic() > until:
                raise RuntimeError(f"weigh serve did not listen within {seconds:g} s: {self._program.words()}")
            time.sleep(0.01)
        return str(json.loads(file.read_text())["url"])

    def _told(self, seconds: float) -> dict[str, Any]:
        """The model's metadata, once it is ready."""
        until = time.monotonic() + seconds
        while True:
            try:
                _v2.ask(f"{self.url}/v2/health/ready", seconds=seconds)
                found: dict[str, Any] = json.loads(_v2.ask(f"{self.url}/v2/models/{self._name}"))
                return found
            except (OSError, RuntimeError) as error:
                self._program.need_alive()
                if time.monotonic() > until:
                    raise RuntimeError(
                        f"weigh serve was not ready within {seconds:g} s ({error}): {self._program.words()}"
                    ) from None
            time.sleep(0.02)

    @property
    def _names(self) -> list[str]:
        return [one["name"] for one in self._metadata["inputs"]]

    def request(self, feed: Mapping[str, NDArray[Any]]) -> bytes:
        return request(self._infer, _v2.body(feed, self._names))

    def answer(self, body: bytes) -> NDArray[np.float32]:
        return _v2.answer(body, self._output)

    def swap(self, source: Source) -> None:
        """The model is loaded anew, then requests go there, then the old one ends."""
        token = (self._state / "token").read_text().strip()
        wanted = {"path": str(source.path.absolute()), "architecture": source.architecture}
        head = {"Authorization": f"Bearer {token}"}
        _v2.ask(f"{self.url}/admin/champion", json.dumps(wanted).encode(), "PUT", 60.0, **head)

    def roots(self) -> list[int]:
        return [self._program.pid]

    def close(self) -> None:
        self._program.close()
