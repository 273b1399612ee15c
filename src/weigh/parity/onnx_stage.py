"""A language model as an ONNX file: run by ONNX Runtime, its weights and layers found by the names that export left."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

from weigh.choice import UsageError
from weigh.parity.tensors import EMBEDDING, HEAD, Tensors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from weigh.parity.stage import Answer

_SCOPES = "pkg.torch.onnx.name_scopes"
_FOLDER = "session.model_external_initializers_file_folder_path"
_MATRICES = ("MatMul", "Gemm", "MatMulNBits", "MatMulInteger")


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
    """Initializers, dequantized: by the names that they have in the file, or by those of the modules they came from."""

    complete: ClassVar[bool] = False

    def __init__(self, path: Path, raw: bool = False) -> None:
        self._folder, self._bits = path.parent, 8
        graph = graph_of(path).graph
        self._all = {one.name: one for one in graph.initializer}
        self._turned: set[str] = set()
        self._names: dict[str, str] = {}
        for name in self._all:
            stem = name.removesuffix("_quantized")
            if not name.endswith(("_scale", "_zero_point", "_Q4", "_scales")):
                self._names[stem] = name
        if not raw:
            self._names = dict(self._renamed(graph))

    def _renamed(self, graph: Any) -> Iterator[tuple[str, str]]:
        for node in graph.node:
            module = re.sub(r"^.*?(?=model\.(layers|embed_tokens|norm)|lm_head)", "", _module(node))
            for held in node.input:
                if held not in self._all or not module:
                    continue
                if node.op_type in _MATRICES and len(self._all[held].dims) == 2:
                    if not any(one.name == "transB" and one.i for one in node.attribute):  # else as torch keeps it
                        self._turned.add(f"{module}.weight")
                    yield f"{module}.weight", held
                elif module == "model.embed_tokens" and len(self._all[held].dims) == 2:
                    yield EMBEDDING, held
                elif held.endswith(f"{module}.weight"):
                    yield f"{module}.weight", held
        if HEAD not in self._names and "lm_head.weight" in self._all:
            yield HEAD, "lm_head.weight"

    def names(self) -> Sequence[str]:
        return [name for name, held in self._names.items() if len(self._all[held].dims) >= 1 and self._float(held)]

    def _float(self, held: str) -> bool:
        return self._all[held].data_type in (1, 10, 16, 2, 3)

    def _array(self, held: str) -> NDArray[Any]:
        import onnx

        made: NDArray[Any] = onnx.numpy_helper.to_array(self._all[held], base_dir=str(self._folder))
        return made

    def get(self, name: str) -> Tensor:
        import numpy as np
        import torch

        held = self._names[name]
        value = self._array(held).astype(np.float32)
        stem = held.removesuffix("_quantized")
        if f"{stem}_scale" in self._all:
            scale, zero = self._array(f"{stem}_scale"), self._array(f"{stem}_zero_point").astype(np.float32)
            value = (value - zero) * scale
        made = torch.from_numpy(np.ascontiguousarray(value))
        return made.T.contiguous() if name in self._turned else made

    def kept(self, name: str) -> tuple[str, int]:
        kind = self._all[self._names[name]].data_type
        return {1: ("float32", 0), 10: ("float16", 0), 16: ("bfloat16", 0)}.get(kind, ("", self._bits))


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
