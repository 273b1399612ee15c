"""ONNX graphs whose matrix products read weights of 8 or 4 bits."""

from __future__ import annotations

import copy
import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.choice import Unfit
from weigh.compress.quantize._graph import HINT, quiet
from weigh.model.onnx_file import operators

if TYPE_CHECKING:
    import onnx


def few_bits(model: Path, folder: Path, bits: int, group: int) -> Path:
    """Write a graph whose MatMul and Gemm with constant weights keep these in fewer bits, a scale a group of inputs.

    Raises:
        Unfit: it has none.
    """
    import onnx

    graph = products(onnx.load(model))
    need_products(graph, bits)
    onnx.save(in_bits(graph, bits, group), folder / "model.onnx")
    return folder / "model.onnx"


def in_bits(graph: onnx.ModelProto, bits: int, group: int, names: Collection[str] | None = None) -> onnx.ModelProto:
    """The graph with its products (those of these names alone, if given) of weights rounded to the nearest."""
    with quiet(), _logging_as_it_was():
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        tool = MatMulNBitsQuantizer(
            copy.deepcopy(graph), bits=bits, block_size=group, is_symmetric=bits == 8,
            nodes_to_exclude=[] if names is None else [one.name for one in graph.graph.node if one.name not in names],
        )  # fmt: skip
        tool.process()
        return tool.model.model


def need_products(graph: onnx.ModelProto, bits: int) -> list[onnx.NodeProto]:
    """The MatMul nodes with constant float32 weights of two dimensions; `Unfit` where there are none."""
    from onnx import TensorProto

    held = {one.name for one in graph.graph.initializer if one.data_type == TensorProto.FLOAT and len(one.dims) == 2}
    found = [node for node in graph.graph.node if node.op_type == "MatMul" and node.input[1] in held]
    if not found:
        raise Unfit(
            f"nothing to quantize: {bits} bits serve the constant float32 weights of MatMul and Gemm, and this graph "
            f"has {operators(graph.graph)}. {HINT}"
        )
    return found


def in_nf4(model: Path, folder: Path) -> Path:
    """Write a graph whose products with constant weights keep these in NF4, a scale for 64 of them.

    Raises:
        Unfit: it has none.
    """
    import onnx
    from onnxruntime.quantization.matmul_bnb4_quantizer import MatMulBnb4Quantizer

    graph = products(onnx.load(model))
    need_products(graph, 4)
    tool = MatMulBnb4Quantizer(graph, MatMulBnb4Quantizer.NF4, 64)
    with quiet():
        tool.process()
    onnx.save(tool.model.model, folder / "model.onnx")
    return folder / "model.onnx"


@contextmanager
def _logging_as_it_was() -> Iterator[None]:
    """Undoes what ONNX Runtime's tool does to the root logger when it is imported."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


def products(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with each Gemm that has constant weights as MatMul and Add, and with a name for every node."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[Any] = []
    for place, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{place}"
        nodes += _split(node, tensors, model.graph) if node.op_type == "Gemm" else [node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    only_read(model)
    return model


def only_read(model: onnx.ModelProto) -> None:
    """Drop the constant tensors that no node reads."""
    read = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _split(node: onnx.NodeProto, tensors: dict[str, Any], graph: onnx.GraphProto) -> list[Any]:
    """A Gemm as MatMul and Add; itself where it scales, turns its input, or has no constant weights."""
    from onnx import helper, numpy_helper

    told = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    plain = told.get("alpha", 1.0) == told.get("beta", 1.0) == 1.0 and not told.get("transA", 0)
    if not plain or node.input[1] not in tensors:
        return [node]
    weight = numpy_helper.to_array(tensors[node.input[1]])
    turned = numpy_helper.from_array(weight.T.copy() if told.get("transB", 0) else weight, f"{node.name}_weight")
    graph.initializer.append(turned)
    if len(node.input) < 3:
        return [helper.make_node("MatMul", [node.input[0], turned.name], node.output, name=f"{node.name}_product")]
    product = f"{node.output[0]}_product"
    return [
        helper.make_node("MatMul", [node.input[0], turned.name], [product], name=f"{node.name}_product"),
        helper.make_node("Add", [product, node.input[2]], node.output, name=f"{node.name}_sum"),
    ]
