"""The toy task, and options whose worth is known: one that must never be chosen, and twins that must tie."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final
from urllib.parse import urlsplit

from pydantic import Field

from weigh.serve.platform import Platform, PlatformTask, Running, Served, _relay
from weigh.serve.platform._process import Program
from weigh.serve.platform.local import Local

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.model.source import Source


def write_toy(folder: Path, seed: int = 0) -> PlatformTask:
    """A small ONNX net with random weights (16 numbers to 4 scores, 32 between), and rows for it."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(seed)
    weights = {
        "w1": chance.normal(0, 0.25, (16, 32)), "b1": chance.normal(0, 0.1, 32), "w2": chance.normal(0, 0.2, (32, 4)),
        "b2": chance.normal(0, 0.1, 4),
    }  # fmt: skip
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h1"]), helper.make_node("Add", ["h1", "b1"], ["h2"]),
        helper.make_node("Relu", ["h2"], ["h3"]), helper.make_node("MatMul", ["h3", "w2"], ["h4"]),
        helper.make_node("Add", ["h4", "b2"], ["scores"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "toy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 16])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["rows", 4])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(made, folder / "toy.onnx")
    X = chance.normal(size=(200, 16)).astype(np.float32)
    np.savez(folder / "rows.npz", X=X)
    return PlatformTask(
        model=folder / "toy.onnx", data=folder / "rows.npz", connections=4, requests=40, warmup=4, rounds=40,
        samples=4, payloads=16, parity_rows=16, swap_seconds=0.1,
    )  # fmt: skip


@final
class Delayed(Platform):
    """The planted loser: the local server behind a relay that keeps each answer for 10 ms. Source: none."""

    name: ClassVar[str] = "delayed"

    def start(self, served: Served, folder: Path) -> Running:
        return Relayed(Local().start(served, folder), 0.01, folder)


@final
class Relayed(Running):
    """Another's server, behind a relay."""

    def __init__(self, running: Running, seconds: float, folder: Path) -> None:
        self._running = running
        parts = urlsplit(running.url)
        words = [sys.executable, str(Path(_relay.__file__)), str(parts.hostname), str(parts.port), str(seconds)]
        self._relay = Program(words, folder / "relay.log")
        self.url = self._relay.told(r"http://\S+", 30.0)[0]

    def request(self, feed: Mapping[str, NDArray[Any]]) -> bytes:
        return self._running.request(feed)

    def answer(self, body: bytes) -> NDArray[np.float32]:
        return self._running.answer(body)

    def swap(self, source: Source) -> None:
        self._running.swap(source)

    def roots(self) -> list[int]:
        return [*self._running.roots(), self._relay.pid]

    def close(self) -> None:
        self._relay.close()
        self._running.close()


@final
class Twin(Platform):
    """A planted twin: the local server, started once more. Source: none."""

    name: ClassVar[str] = "twin"

    seed: int = Field(1, description="tells the twins apart")

    def start(self, served: Served, folder: Path) -> Running:
        return Local().start(served, folder)
