"""ONNX graphs: their weights, and the same file with some of them zero."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.choice import Unfit
from weigh.model.source import Source

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    Table = NDArray[np.float32]

KINDS = ("Conv", "Gemm", "MatMul")


def weights(model: onnx.ModelProto) -> dict[str, Table]:
    """The constant float32 weights of linear layers and convolutions, by name, as (outputs, columns)."""
    from onnx import TensorProto, numpy_helper

    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        tensor = tensors.get(node.input[1]) if node.op_type in KINDS and len(node.input) > 1 else None
        if tensor is not None and tensor.data_type == TensorProto.FLOAT and len(tensor.dims) >= 2:
            found[tensor.name] = _rows(numpy_helper.to_array(tensor), _inputs_first(node))
    return found


def tensors(model: onnx.ModelProto) -> list[int]:
    """How many numbers each tensor of the graph holds."""
    return [math.prod(tensor.dims) for tensor in model.graph.initializer]


def _inputs_first(node: onnx.NodeProto) -> bool:
    """Whether the weight of a node has its inputs before its outputs."""
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return node.op_type == "MatMul" or (node.op_type == "Gemm" and not transposed)


def _rows(table: Table, inputs_first: bool) -> Table:
    import numpy as np

    if inputs_first:
        return table.swapaxes(-1, -2).reshape(-1, table.shape[-2])
    return np.moveaxis(table, 1, -1).reshape(len(table), -1)


def _back(rows: NDArray[Any], shape: tuple[int, ...], inputs_first: bool) -> NDArray[Any]:
    import numpy as np

    if inputs_first:
        return rows.reshape(*shape[:-2], shape[-1], shape[-2]).swapaxes(-1, -2)
    return np.moveaxis(rows.reshape(shape[0], *shape[2:], shape[1]), -1, 1)


def magnitude_of_graph(source: Source, folder: Path, share: float, by_layer: bool) -> Path:
    """The file with its least weights zero."""
    import numpy as np

    model = _opened(source)
    if by_layer:
        return _written(model, folder, lambda table: _least(np.abs(table), share))
    whole = np.concatenate([np.abs(table).ravel() for table in weights(model).values()])
    border = np.sort(whole)[int(len(whole) * share) - 1] if int(len(whole) * share) else -1.0
    return _written(model, folder, lambda table: np.abs(table) <= border)


def groups_of_graph(source: Source, folder: Path, kept: int, of: int, score: str) -> Path:
    """The file with the greatest `kept` of every `of` neighbouring weights in a row, the others zero."""
    import numpy as np

    if score != "magnitude":
        raise Unfit("the inputs of an ONNX graph's layers are not looked at: type n_m:score=magnitude")
    model = _opened(source)
    if not any(table.shape[1] % of == 0 for table in weights(model).values()):
        raise Unfit(f"no layer has inputs that fall into groups of {of}; magnitude needs no groups")

    def mask(table: Table) -> NDArray[np.bool_]:
        if table.shape[1] % of:
            return np.zeros(table.shape, bool)
        groups = np.abs(table).reshape(-1, of)
        order = np.argsort(-groups, axis=1, kind="stable")
        gone = np.zeros(groups.shape, bool)
        np.put_along_axis(gone, order[:, kept:], True, axis=1)
        return gone.reshape(table.shape)

    return _written(model, folder, mask)


def _least(sizes: Table, share: float) -> NDArray[np.bool_]:
    import numpy as np

    gone = np.zeros(sizes.size, bool)
    gone[np.argsort(sizes, axis=None, kind="stable")[: int(sizes.size * share)]] = True
    return gone.reshape(sizes.shape)


def _opened(source: Source) -> onnx.ModelProto:
    import onnx

    model = onnx.load(source.path)
    if not weights(model):
        raise Unfit("nothing to prune: the graph has no constant float32 weights of Conv, Gemm or MatMul")
    return model


def _written(model: onnx.ModelProto, folder: Path, mask: Callable[[Table], NDArray[np.bool_]]) -> Path:
    import numpy as np
    import onnx
    from onnx import numpy_helper

    firsts = {node.input[1]: _inputs_first(node) for node in model.graph.node if node.op_type in KINDS}
    masks = {name: mask(table) for name, table in weights(model).items()}
    for tensor in model.graph.initializer:
        if tensor.name in masks:
            whole = numpy_helper.to_array(tensor)
            gone = _back(masks[tensor.name], whole.shape, firsts[tensor.name])
            tensor.CopyFrom(numpy_helper.from_array(np.where(gone, np.float32(0), whole), tensor.name))
    made = folder / "model.onnx"
    onnx.save(model, made)
    return made
