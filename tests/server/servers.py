"""Small nets, servers that are started for real, and clients that count what they are told."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil


def write_net(path: Path, seed: int = 0, shift: float = 0.0, work: int = 0, breaks: bool = False) -> Path:
    """A net of two layers: 4 numbers in, scores of 3 classes out.

    Args:
        shift: noise on its weights, so that it answers otherwise.
        work: products of matrices of 512 x 512 that it works out on the side, so that it is slow.
        breaks: it fails on rows with a number of 2 or more.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng, noise = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    shapes = {"w1": (4, 8), "b1": (8,), "w2": (8, 3), "b2": (3,)}
    weights = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    init = [
        numpy_helper.from_array((one + shift * noise.normal(size=one.shape)).astype("f4"), name)
        for name, one in weights.items()
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["a"]), helper.make_node("Relu", ["a"], ["h"]),
        helper.make_node("Gemm", ["h", "w2", "b2"], ["z"]), helper.make_node("Softmax", ["z"], ["p"]),
    ]  # fmt: skip
    scores = "p"
    if work:
        init += [numpy_helper.from_array(np.full((512, 512), 1e-3, "f4"), "m"), _one("zero", 0.0)]
        nodes += [
            helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
            helper.make_node("Mul", ["m", "top"], ["m0"]),
        ]
        nodes += [helper.make_node("MatMul", [f"m{k}", "m"], [f"m{k + 1}"]) for k in range(work)]
        nodes += [
            helper.make_node("ReduceMax", [f"m{work}"], ["last"], keepdims=0),
            helper.make_node("Mul", ["last", "zero"], ["nothing"]), helper.make_node("Add", [scores, "nothing"], ["q"]),
        ]  # fmt: skip
        scores = "q"
    if breaks:
        init += [_one("table", 0.0, 2)]
        nodes += [
            helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
            helper.make_node("Cast", ["most"], ["place"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "place"], ["found"]),
            helper.make_node("Add", [scores, "found"], ["r"]),
        ]  # fmt: skip
        scores = "r"
    nodes += [helper.make_node("Identity", [scores], ["y"])]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 3])], init,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def _one(name: str, value: float, size: int = 0) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.full((size,) if size else (), value, "f4"), name)


def body(rng: np.random.Generator | None = None, unit: str = "", request: str = "", rows: int = 1) -> dict[str, Any]:
    """A request for some rows."""
    data = (np.zeros(4 * rows) if rng is None else rng.normal(size=4 * rows)).round(3).tolist()
    told: dict[str, Any] = {"inputs": [{"name": "x", "shape": [rows, 4], "datatype": "FP32", "data": data}]}
    if request:
        told["id"] = request
    return told | ({"parameters": {"unit": unit}} if unit else {})


@dataclass
class Running:
    """A server: `weigh serve` in a process of its own."""

    model: Path
    state: Path
    flags: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    url: str = ""
    log: list[Path] = field(default_factory=list)

    def start(self, prefix: tuple[str, ...] = ()) -> Running:
        command = [*prefix, sys.executable, "-m", "weigh", "serve", str(self.model), "--name", "net", "--port", "0"]
        out = self.state.with_suffix(f".{len(self.log)}.log")
        self.log.append(out)
        with out.open("wb") as file:
            self.process = subprocess.Popen(
                [*command, "--state", str(self.state), *self.flags], stdout=file, stderr=file, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        self.wait(lambda: self._told() == self.process.pid, 60)
        self.url = json.loads((self.state / "server.json").read_text())["url"]
        self.wait(lambda: self.call("GET", "/v2/health/ready")[0] == 200, 60)
        return self

    def _told(self) -> int:
        try:
            return json.loads((self.state / "server.json").read_text())["pid"]
        except (FileNotFoundError, ValueError):
            return 0

    def wait(self, until: Callable[[], bool], seconds: float = 30.0) -> None:
        """Wait for something, and say what the server printed where it does not come."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(OSError):  # of a server that is being started again
                if until():
                    return
            assert self.process is not None
            assert self.process.poll() in (None, -9), self.printed()
            time.sleep(0.05)
        raise AssertionError(f"waited {seconds:g} s: {self.printed()}")

    def printed(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in self.log)

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    @property
    def token(self) -> str:
        return (self.state / "token").read_text().strip()

    def call(self, method: str, path: str, told: Any = None, **headers: str) -> tuple[int, dict[str, str], Any]:
        """One request on a connection of its own: status, headers, body."""
        connection = http.client.HTTPConnection(*self.address, timeout=60)
        try:
            raw = told if isinstance(told, bytes) or told is None else json.dumps(told).encode()
            connection.request(method, path, raw, {name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            content = answer.read()
            kind = answer.headers.get("content-type", "")
            found = {name.lower(): text for name, text in answer.headers.items()}
            return answer.status, found, json.loads(content) if kind == "application/json" else content
        finally:
            connection.close()

    def infer(self, told: Any = None, **headers: str) -> tuple[int, dict[str, str], Any]:
        return self.call("POST", "/v2/models/net/infer", body() if told is None else told, **headers)

    def admin(self, method: str, path: str, told: Any = None) -> tuple[int, Any]:
        status, _, found = self.call(method, path, told, authorization=f"Bearer {self.token}")
        return status, found

    def begin(self, challenger: Path, **plan: Any) -> tuple[int, Any]:
        return self.admin("POST", "/admin/rollout", {"challenger": {"path": str(challenger)}, "plan": plan})

    def logged(self, kind: str = "predictions") -> list[dict[str, Any]]:
        """What the log has."""
        from weigh.server.log import Tail

        return list(Tail(self.state / "log", kind).read())

    def family(self) -> list[psutil.Process]:
        """The keeper, and the processes under it."""
        assert self.process is not None
        keeper = psutil.Process(self.process.pid)
        return [keeper, *keeper.children(recursive=True)]

    def router(self) -> psutil.Process:
        return next(one for one in self.family() if "weigh.server.route" in one.cmdline())

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(60)

    def kill(self) -> None:
        """kill -9 of all of it at once."""
        for one in self.family():
            one.send_signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()


class Load:
    """Clients that send one request after another, each on its own connection, until they are told to stop.

    Attributes:
        answered: request id -> arm, of each answer that came whole with 200.
        units: unit -> arms that it met.
        refused: status -> how many.
        broken: connections that ended without an answer.
    """

    def __init__(self, server: Running, clients: int = 4, units: int = 5000, pause: float = 0.0) -> None:
        self.server, self.units_count, self.pause = server, units, pause
        self.answered: dict[str, str] = {}
        self.units: dict[str, set[str]] = {}
        self.refused: dict[int, int] = {}
        self.broken = 0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(place,), daemon=True) for place in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def more(self, count: int, seconds: float = 60.0) -> None:
        """Wait for so many more answers."""
        goal = len(self.answered) + count
        self.server.wait(lambda: len(self.answered) >= goal, seconds)

    def _run(self, place: int) -> None:
        rng, number = np.random.default_rng(place), 0
        connection: http.client.HTTPConnection | None = None
        while not self._stop.is_set():
            number += 1
            request, unit = f"c{place}-{number}", f"u{rng.integers(self.units_count)}"
            told = json.dumps(body(rng, unit, request)).encode()
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(*self.server.address, timeout=60)
                connection.request("POST", "/v2/models/net/infer", told)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException):
                if connection is not None:
                    connection.close()
                connection = None
                with self._lock:
                    self.broken += 1
                time.sleep(0.02)
                continue
            with self._lock:
                if answer.status == 200:
                    assert json.loads(content)["id"] == request
                    arm = answer.headers["x-weigh-arm"]
                    self.answered[request] = arm
                    self.units.setdefault(unit, set()).add(arm)
                else:
                    self.refused[answer.status] = self.refused.get(answer.status, 0) + 1
            if self.pause:
                time.sleep(self.pause)
        if connection is not None:
            connection.close()
