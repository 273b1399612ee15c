"""A small task with a known answer: labels are what the net itself says, one in ten of them replaced by chance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from weigh.compress.quantize import QuantizeTask

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

SIZES = (16, 32, 16, 4)
ROWS = 2600


def write_toy(folder: Path, seed: int = 0) -> QuantizeTask:
    """A net of random weights with 16 inputs and 4 classes, and 2,600 rows; it answers about 92.5 % of them rightly."""
    import numpy as np
    import onnx

    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    layers = random_layers(SIZES, seed)
    inputs = random.normal(size=(ROWS, SIZES[0])).astype(np.float32)
    labels = forward(layers, inputs).argmax(axis=1)
    wrong = random.random(ROWS) < 0.1
    labels[wrong] = random.integers(SIZES[-1], size=int(wrong.sum()))
    onnx.save(net(layers), folder / "model.onnx")
    np.savez(folder / "rows.npz", X=inputs, y=labels)
    return QuantizeTask(
        model=folder / "model.onnx", data=folder / "rows.npz", calibration_rows=100, rounds=200, runs=20, warmup=5
    )


def random_layers(sizes: Sequence[int], seed: int = 0) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Weights and biases of a fully connected net, scaled so that values neither grow nor vanish."""
    import numpy as np

    random = np.random.default_rng([seed, 1])
    return [
        (random.normal(0, (2 / a) ** 0.5, (a, b)).astype(np.float32), random.normal(0, 0.1, b).astype(np.float32))
        for a, b in pairwise(sizes)
    ]


def forward(
    layers: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]], x: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What the net computes, in numpy: shape (rows, classes)."""
    import numpy as np

    for weights, bias in layers[:-1]:
        x = np.maximum(x @ weights + bias, 0)
    return x @ layers[-1][0] + layers[-1][1]


def net(layers: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]], opset: int = 17) -> onnx.ModelProto:
    """The net as an ONNX model: input `X` (rows, features), output `scores` (rows, classes)."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, tensors, last = [], [], len(layers) - 1
    for i, (weights, bias) in enumerate(layers):
        tensors += [numpy_helper.from_array(weights, f"weights{i}"), numpy_helper.from_array(bias, f"bias{i}")]
        out = "scores" if i == last else f"sum{i}"
        source = f"hidden{i - 1}" if i else "X"
        nodes.append(helper.make_node("Gemm", [source, f"weights{i}", f"bias{i}"], [out], name=f"gemm{i}"))
        if i < last:
            nodes.append(helper.make_node("Relu", [out], [f"hidden{i}"], name=f"relu{i}"))
    width, classes = layers[0][0].shape[0], layers[-1][0].shape[1]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", n])
        for name, n in (("X", width), ("scores", classes))
    ]
    graph = helper.make_graph(nodes, "net", ports[:1], ports[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
