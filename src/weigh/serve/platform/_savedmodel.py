"""A SavedModel of a model, for TensorFlow Serving: translated from ONNX, and held against ONNX Runtime's answers."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.choice import Unfit
from weigh.serve.platform import _savedmodel_writer
from weigh.serve.platform._environment import python_of

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

WRITER = Path(_savedmodel_writer.__file__)
ENVIRONMENTS = ("tensorflow", "tfx")
UNKNOWN = 3
TYPES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64"}


class Differs(RuntimeError):
    """TensorFlow answers otherwise than ONNX Runtime does."""


def write_savedmodel(
    graph: Path, to: Path, name: str, example: Mapping[str, NDArray[Any]], output: str, tolerance: float = 1e-5
) -> float:
    """Write a SavedModel that answers as an ONNX file does, with its signature and a warm-up file.

    Args:
        graph: the ONNX file.
        to: the folder to write, which must not exist: a version, such as ``flights/1``.
        name: of the model, as clients of TensorFlow Serving call it.
        example: inputs on which both are run; the first row is the warm-up's.
        output: the one that is asked for; the signature gives it alone.
        tolerance: greatest difference that passes, relative to the greatest answer.

    Returns: the greatest difference, relative to the greatest answer.

    Raises:
        UsageError: there is no TensorFlow, with what to type.
        Unfit: the graph has an operator that is not translated.
        Differs: the answers differ by more than the tolerance.
    """
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="weigh-savedmodel-") as home:
        folder = Path(home)
        described(graph, folder, name, output, example)
        _tensorflow("write", folder, what=graph.name)
        _save(folder / "inputs.npz", example)
        _tensorflow("run", folder / "model", folder / "inputs.npz", folder / "outputs.npz", what=graph.name)
        with np.load(folder / "outputs.npz") as archive:
            theirs = archive[output]
        gap = _gap(_answers(graph, output, example), theirs)
        if not gap <= tolerance:
            raise Differs(
                f"TensorFlow answers {graph.name} otherwise than ONNX Runtime does: by {gap:.3g} of the greatest "
                f"answer, where {tolerance:g} passes"
            )
        to.parent.mkdir(parents=True, exist_ok=True)
        (folder / "model").rename(to) if _same_disk(folder, to.parent) else _copy(folder / "model", to)
    return gap


def _save(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    import numpy as np

    with path.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def _same_disk(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev


def _copy(source: Path, to: Path) -> None:
    import shutil

    shutil.copytree(source, to)


def _gap(mine: NDArray[Any], theirs: NDArray[Any]) -> float:
    import numpy as np

    if mine.shape != theirs.shape:
        return float("inf")
    mine, theirs = (one.astype(np.float64) for one in (mine, theirs))
    return float(np.abs(mine - theirs).max() / max(float(np.abs(mine).max()), 1e-12))


def _answers(graph: Path, output: str, feed: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    from weigh.model.session import load_session

    made: NDArray[Any] = load_session(graph, 1).run([output], dict(feed))[0]
    return made


def run_savedmodel(model: Path, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What a SavedModel answers under TensorFlow, in a process of its own."""
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="weigh-savedmodel-") as home:
        _save(Path(home) / "inputs.npz", feed)
        _tensorflow("run", model, Path(home) / "inputs.npz", Path(home) / "outputs.npz", what=model.name)
        with np.load(Path(home) / "outputs.npz") as archive:
            return {name: archive[name] for name in archive.files}


def _tensorflow(*words: object, what: str) -> None:
    own = {**os.environ, "PYTHONPATH": "", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [str(python_of(*ENVIRONMENTS)), str(WRITER), *map(str, words)], capture_output=True, text=True,
        stdin=subprocess.DEVNULL, env=own,
    )  # fmt: skip
    if done.returncode == UNKNOWN:
        told = done.stdout.strip().splitlines()[-1].removeprefix("UNKNOWN ")
        raise Unfit(f"{told} of {what} is not translated to TensorFlow: serve it on another platform")
    if done.returncode:
        raise RuntimeError(f"TensorFlow ended with an error: {' '.join(done.stderr.split())[-500:]}")


def described(graph: Path, folder: Path, name: str, output: str, example: Mapping[str, NDArray[Any]]) -> None:
    """An ONNX file as JSON and arrays, which needs no onnx to be read."""
    import onnx
    from onnx import numpy_helper

    model = onnx.shape_inference.infer_shapes(onnx.load(graph))
    weights = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Constant":
            weights[node.output[0]] = _constant(node)
            continue
        attributes = {one.name: _plain(onnx.helper.get_attribute_value(one), node) for one in node.attribute}
        nodes.append({"operator": node.op_type, "inputs": list(node.input), "outputs": list(node.output),
                      "attributes": attributes})  # fmt: skip
    needed = _needed(nodes, output)
    inputs = [_input(one) for one in model.graph.input if one.name not in weights]
    keys = {f"w{place}": one for place, one in enumerate(weights)}
    told = {"name": name, "nodes": needed, "inputs": inputs, "outputs": [output], "weights": keys}
    (folder / "graph.json").write_text(json.dumps(told))
    _save(folder / "weights.npz", {key: weights[one] for key, one in keys.items()})
    _save(folder / "example.npz", {f"i{place}": example[one["name"]][:1] for place, one in enumerate(inputs)})


def _needed(nodes: list[dict[str, Any]], output: str) -> list[dict[str, Any]]:
    """The nodes that an output depends on, in their order."""
    wanted, kept = {output}, []
    for node in reversed(nodes):
        if wanted & set(node["outputs"]):
            kept.append(node)
            wanted |= set(node["inputs"])
    return kept[::-1]


def _constant(node: onnx.NodeProto) -> NDArray[Any]:
    import numpy as np
    import onnx
    from onnx import numpy_helper

    value = onnx.helper.get_attribute_value(node.attribute[0])
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.array(value, np.float32 if "float" in node.attribute[0].name else np.int64)


def _plain(value: Any, node: onnx.NodeProto) -> Any:
    """An attribute as JSON has it."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, int | float | str):
        return value
    try:
        return [one.decode() if isinstance(one, bytes) else one + 0 for one in value]
    except TypeError:
        raise Unfit(f"a graph within the operator {node.op_type} is not translated to TensorFlow") from None


def _input(port: onnx.ValueInfoProto) -> dict[str, Any]:
    kind = port.type.tensor_type
    if kind.elem_type not in TYPES:
        raise Unfit(f"the input '{port.name}' is of a type that is not translated to TensorFlow")
    shape = [one.dim_value if one.HasField("dim_value") else None for one in kind.shape.dim]
    return {"name": port.name, "dtype": TYPES[kind.elem_type], "shape": shape}
