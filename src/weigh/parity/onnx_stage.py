"""A language model as an ONNX file: run by ONNX Runtime, its weights and layers found by the names that export left."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

from weigh.choice import UsageError
from weigh.parity.onnx_products import MATRICES, Product, bits, bits_of, products
from weigh.parity.tensors import EMBEDDING, HEAD, Tensors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from weigh.parity.stage import Answer

_SCOPES = "pkg.torch.onnx.name_scopes"
_FOLDER = "session.model_external_initializers_file_folder_path"
_SUFFIXES = ("_quantized", "_bfloat16", "_Transposed")
"""What quantizers and casts append to a weight's name, the last first."""


@cache
def graph_of(path: Path) -> Any:
    """The file without weights that lie beside it."""
    import onnx

    return onnx.load(path, load_external_data=False)


def takes_tokens(path: Path) -> bool:
    """Whether it takes ``input_ids`` and gives a score a token of a vocabulary.

    Raises:
        UsageError: it is no ONNX file.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        graph = graph_of(path).graph
    except DecodeError:
        return False
    shapes = [len(port.type.tensor_type.shape.dim) for port in graph.output]
    return "input_ids" in {port.name for port in graph.input} and 3 in shapes


def session(path: Path, extra: Sequence[str] = ()) -> Any:
    """A session on the CPU; `extra` values of the graph become outputs too."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not extra:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    model = onnx.ModelProto()
    model.CopyFrom(graph_of(path))
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in extra)
    options.add_session_config_entry(_FOLDER, str(path.parent.resolve()))
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def feeds(opened: Any, ids: Tensor, mask: Tensor) -> dict[str, NDArray[np.int64]]:
    """What the inputs of an exported language model are given.

    Raises:
        UsageError: it wants something else than tokens, their mask and their positions.
    """
    import torch

    known = {"input_ids": ids, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
    strange = [port.name for port in opened.get_inputs() if port.name not in known]
    if strange:
        raise UsageError(
            f"the ONNX model wants {', '.join(strange)}; parity feeds {', '.join(known)}: export it without a cache"
        )
    return {port.name: known[port.name].to(torch.int64).contiguous().numpy() for port in opened.get_inputs()}


def answer(path: Path) -> Answer:
    """The file as a function of tokens."""
    opened = session(path)
    names = [port.name for port in opened.get_outputs()]
    wanted = "logits" if "logits" in names else names[0]

    def run(ids: Tensor, mask: Tensor) -> Tensor:
        import torch

        return torch.from_numpy(opened.run([wanted], feeds(opened, ids, mask))[0]).float()

    return run


def hidden(path: Path, ids: Tensor, mask: Tensor) -> list[Tensor] | None:
    """What each layer puts out; None where the graph does not say which node belongs to which layer."""
    import torch

    last: dict[int, str] = {}
    for node in graph_of(path).graph.node:
        found = re.search(r"layers\.(\d+)$", _module(node))
        if found and node.op_type == "Add":
            last[int(found[1])] = node.output[0]
    if not last:
        return None
    names = [last[at] for at in sorted(last)]
    opened = session(path, names)
    return [torch.from_numpy(one).float() for one in opened.run(names, feeds(opened, ids, mask))]


def _module(node: Any) -> str:
    """The module that a node was exported from, by its full name; empty where the graph does not say."""
    for one in node.metadata_props:
        if one.key == _SCOPES:
            scopes = ast.literal_eval(one.value)
            return str(scopes[-2]) if len(scopes) > 1 else ""
    return ""


@final
class OnnxTensors(Tensors):
    """Initializers, dequantized: by the names of the modules they came from, else by those that they have in the file.

    Args:
        raw: only by the names in the file.
    """

    complete: ClassVar[bool] = False

    def __init__(self, path: Path, raw: bool = False) -> None:
        self._folder, self._graph = path.parent, graph_of(path).graph
        self._versions = list(graph_of(path).opset_import)
        self.bits = bits(self._graph)
        self._all = {one.name: one for one in self._graph.initializer}
        self._axis = {
            node.input[0]: next((int(one.i) for one in node.attribute if one.name == "axis"), 1)
            for node in self._graph.node
            if node.op_type == "DequantizeLinear"
        }
        self._turned: set[str] = set()
        self._paired: dict[str, tuple[Product, bool]] = {}
        self._names = {} if raw else dict(self._renamed())
        used = set(self._names.values())
        for held in self._all:
            if held not in used and not held.endswith(("_scale", "_zero_point", "_Q4", "_Q8", "_scales")):
                self._name(held)

    def _name(self, held: str) -> None:
        name = held
        for suffix in _SUFFIXES:
            name = name.removesuffix(suffix)
        if name in self._names:
            return
        self._names[name] = held
        if "_Transposed" in held and name != held and len(self._all[held].dims) == 2:
            self._turned.add(name)

    def _renamed(self) -> Iterator[tuple[str, str]]:
        for node in self._graph.node:
            module = re.sub(r"^.*?(?=model\.(layers|embed_tokens|norm)|lm_head)", "", _module(node))
            for held in node.input:
                if held not in self._all or not module:
                    continue
                if node.op_type in MATRICES and len(self._all[held].dims) == 2:
                    if not any(one.name == "transB" and one.i for one in node.attribute):  # else as torch keeps it
                        self._turned.add(f"{module}.weight")
                    yield f"{module}.weight", held
                elif module == "model.embed_tokens" and len(self._all[held].dims) == 2:
                    yield EMBEDDING, held
                elif held.endswith(f"{module}.weight"):
                    yield f"{module}.weight", held
        if "lm_head.weight" in self._all:
            yield HEAD, "lm_head.weight"

    def pair(self, before: OnnxTensors) -> None:
        """Find weights that were renamed: of as many products with weights of the same sizes, in their order."""
        ours, theirs = before._products(), self._products()
        if [before._shape(one) for one in ours] != [self._shape(one) for one in theirs]:
            return
        names = {held: name for name, held in before._names.items()}
        for one, other in zip(ours, theirs, strict=True):
            name = names.get(one.held, "")
            if name and name not in self._names and not one.packed:
                self._paired[name] = (other, one.turned and name not in before._turned)

    def _products(self) -> list[Product]:
        return list(products(self._graph, lambda held: list(self._all[held].dims) if held in self._all else []))

    def _shape(self, one: Product) -> tuple[int, int]:
        return one.shape(list(self._all[one.held].dims))

    def names(self) -> Sequence[str]:
        plain = [name for name, held in self._names.items() if len(self._all[held].dims) >= 1 and self._float(held)]
        return [*plain, *self._paired]

    def _float(self, held: str) -> bool:
        return self._all[held].data_type in (1, 10, 16, 2, 3)

    def _array(self, held: str) -> NDArray[Any]:
        import onnx

        made: NDArray[Any] = onnx.numpy_helper.to_array(self._all[held], base_dir=str(self._folder))
        return made

    def _value(self, held: str) -> NDArray[np.float32]:
        """A tensor as float32, dequantized with one scale, or one a channel."""
        import numpy as np

        value = self._array(held).astype(np.float32)
        stem = held.removesuffix("_quantized")
        if f"{stem}_scale" not in self._all:
            return value
        axis = self._axis.get(held, value.ndim - 1)
        shape = [-1 if at == axis % value.ndim else 1 for at in range(value.ndim)]
        scale, zero = (self._array(f"{stem}_{part}").astype(np.float32) for part in ("scale", "zero_point"))
        if scale.size > 1:
            scale, zero = scale.reshape(shape), zero.reshape(shape)
        return (value - zero) * scale

    def get(self, name: str) -> Tensor:
        import numpy as np
        import torch

        if name in self._paired:
            product, turned = self._paired[name]
            made = torch.from_numpy(np.ascontiguousarray(self._weight(product)))
            return made.T.contiguous() if turned else made
        made = torch.from_numpy(np.ascontiguousarray(self._value(self._names[name])))
        return made.T.contiguous() if name in self._turned else made

    def _weight(self, of: Product) -> NDArray[np.float32]:
        if of.packed:
            return of.unpacked({name: self._array(name) for name in of.node.input[1:] if name}, self._versions)
        value = self._value(of.held)
        return value.T if of.turned else value

    def used(self, name: str) -> int:
        kept = self.kept(name)[1]
        held = self._paired[name][0].held if name in self._paired else self._names[name]
        whole = self._array(held) if self._all[held].data_type in (2, 3) and kept == 8 else None
        if whole is None or (name in self._paired and self._paired[name][0].packed):
            return kept
        return 7 if int(whole.max()) - int(whole.min()) <= 128 else kept

    def kept(self, name: str) -> tuple[str, int]:
        if name in self._paired and self._paired[name][0].packed:
            return "", bits_of(self._paired[name][0].node)
        held = self._paired[name][0].held if name in self._paired else self._names[name]
        kind = self._all[held].data_type
        return {1: ("float32", 0), 10: ("float16", 0), 16: ("bfloat16", 0)}.get(kind, ("", self.bits or 8))


def rounds_activations(path: Path) -> bool:
    """Whether values are quantized on their way through the graph, and not weights alone."""
    graph = graph_of(path).graph
    held = {one.name for one in graph.initializer}
    dynamic = any(node.op_type == "DynamicQuantizeLinear" for node in graph.node)
    return dynamic or any(node.op_type == "QuantizeLinear" and node.input[0] not in held for node in graph.node)


def clipped(path: Path, ids: Tensor, mask: Tensor) -> list[tuple[str, float, float, float]]:
    """Activations that are quantized with frozen ranges: name, share of values outside the range, its ends.

    A value counts as outside when it is more than half a step beyond.
    """
    import numpy as np

    graph = graph_of(path).graph
    held = {one.name for one in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] not in held]
    if not nodes:
        return []
    tensors = OnnxTensors(path, raw=True)
    names = list(dict.fromkeys(node.input[0] for node in nodes))
    opened = session(path, [name for name in names if name not in {port.name for port in graph.input}])
    values = dict(zip(names, opened.run(names, feeds(opened, ids, mask)), strict=True))
    found = []
    for node in nodes:
        scale, zero = float(tensors._array(node.input[1])), tensors._array(node.input[2])
        ends = np.iinfo(zero.dtype)
        low, high = ((end - int(zero)) * scale for end in (ends.min, ends.max))
        value = values[node.input[0]]
        outside = float(((value < low - scale / 2) | (value > high + scale / 2)).mean())
        found.append((node.input[0], outside, low, high))
    return found
