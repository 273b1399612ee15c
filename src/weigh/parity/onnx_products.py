"""Products with constant weights in an ONNX graph, in the order in which they run, whatever their weights are kept in.

Quantizers rename weights and put other nodes in the place of products, but keep their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PACKED = ("MatMulNBits", "MatMulBnb4")
MATRICES = ("MatMul", "Gemm", "MatMulInteger", *PACKED)
_QUANTIZED = ("QLinear", "Quantize", "Dequantize", "DynamicQuantize", "QAttention", "QGemm", "QEmbed", "QOrdered")
_PASSED = ("DequantizeLinear", "Cast")
_FOUR = (21, 22)
"""UINT4 and INT4, of `onnx.TensorProto`."""


def bits(graph: Any) -> int:
    """The fewest bits a weight that the graph's nodes compute with; 0 where they compute with floats alone."""
    found = [bits_of(node) for node in graph.node]
    widths = [one for one in found if one]
    if widths and any(one.data_type in _FOUR for one in graph.initializer):
        widths.append(4)
    return min(widths, default=0)


def bits_of(node: Any) -> int:
    """Bits a weight that a node computes with; 0 where it computes with floats."""
    kind = node.op_type
    if kind in (*PACKED, "GatherBlockQuantized"):
        said = next((one.i for one in node.attribute if one.name == "bits"), 4)
        return int(said)
    return 8 if kind.startswith(_QUANTIZED) or "Integer" in kind else 0


@dataclass(frozen=True, slots=True)
class Product:
    """A product: its node, and the tensor of the file that holds its weights."""

    node: Any
    held: str

    @property
    def packed(self) -> bool:
        """Whether several weights share a byte, in blocks."""
        return self.node.op_type in PACKED

    @property
    def turned(self) -> bool:
        """Whether the weights lie as (inputs, outputs)."""
        return not any(one.name == "transB" and one.i for one in self.node.attribute)

    def shape(self, dims: list[int]) -> tuple[int, int]:
        """(outputs, inputs), of a tensor of these sizes."""
        if self.packed:
            told = {one.name: int(one.i) for one in self.node.attribute}
            return told["N"], told["K"]
        return (dims[1], dims[0]) if self.turned else (dims[0], dims[1])

    def unpacked(self, values: Mapping[str, NDArray[Any]], domain_versions: list[Any]) -> NDArray[np.float32]:
        """The weights of a packed product, (outputs, inputs): what it makes of unit vectors, run alone."""
        import numpy as np
        import onnx
        from onnx import helper, numpy_helper

        rows, columns = self.shape([])
        node = onnx.NodeProto()
        node.CopyFrom(self.node)
        node.input[0], node.output[0] = "unit", "made"
        kept = [one for one in node.attribute if one.name != "accuracy_level"]  # it may round the unit vectors
        del node.attribute[:]
        node.attribute.extend(kept)
        ports = [helper.make_tensor_value_info(name, 1, [columns, size]) for name, size in _ends(rows, columns)]
        held = [numpy_helper.from_array(values[name], name) for name in self.node.input[1:] if name]
        graph = helper.make_graph([node], "alone", ports[:1], ports[1:], held)
        model = helper.make_model(graph, opset_imports=domain_versions, ir_version=10)
        made: NDArray[np.float32] = _session(model).run(None, {"unit": np.eye(columns, dtype=np.float32)})[0]
        return made.T


def _ends(rows: int, columns: int) -> tuple[tuple[str, int], tuple[str, int]]:
    return ("unit", columns), ("made", rows)


def _session(model: Any) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def products(graph: Any, dims: Callable[[str], list[int]]) -> Iterator[Product]:
    """The products with constant weights of two dimensions.

    Args:
        dims: the sizes of a constant tensor by name; empty where there is no such tensor.
    """
    made = {name: node for node in graph.node if node.op_type in _PASSED for name in node.output}
    for node in graph.node:
        if node.op_type not in MATRICES:
            continue
        held = node.input[1]
        while held in made:
            held = made[held].input[0]
        if (sizes := dims(held)) and (node.op_type in PACKED or len(sizes) == 2):
            yield Product(node, held)
