"""The small net that every server answers with, the rows that it is asked about, and what it should answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INPUTS, HIDDEN, OUTPUTS = 64, 128, 10
PAYLOADS = 1000
"""Requests that differ, each for a user of its own."""
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Net:
    """The files and rows of one run.

    Attributes:
        path: the net as an ONNX file.
        challenger: the same weights in a file of another content, so that a canary gives the same numbers.
        rows: float32, shape (PAYLOADS, INPUTS).
        answers: of ONNX Runtime itself, float32, shape (PAYLOADS, OUTPUTS).
    """

    path: Path
    challenger: Path
    rows: NDArray[np.float32]
    answers: NDArray[np.float32]


def made(folder: Path, seed: int = 0) -> Net:
    """Write the net and draw the rows."""
    import numpy as np

    from weigh.model.session import load_session

    chance = np.random.default_rng(seed)
    weights = {
        "w1": chance.normal(0, 0.1, (INPUTS, HIDDEN)), "b1": chance.normal(0, 0.1, HIDDEN),
        "w2": chance.normal(0, 0.1, (HIDDEN, OUTPUTS)), "b2": chance.normal(0, 0.1, OUTPUTS),
    }  # fmt: skip
    files = [_written(folder / f"{name}.onnx", weights, name) for name in ("net", "challenger")]
    rows = np.round(chance.random((PAYLOADS, INPUTS)), 4).astype(np.float32)
    session = load_session(files[0], 1)
    answers = np.concatenate([session.run(None, {"x": row[None]})[0] for row in rows])
    return Net(files[0], files[1], rows, answers)


def _written(path: Path, weights: dict[str, NDArray[np.float64]], about: str) -> Path:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h1"]), helper.make_node("Add", ["h1", "b1"], ["h2"]),
        helper.make_node("Relu", ["h2"], ["h3"]), helper.make_node("MatMul", ["h3", "w2"], ["h4"]),
        helper.make_node("Add", ["h4", "b2"], ["scores"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", INPUTS])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["rows", OUTPUTS])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
        doc_string=about,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path
