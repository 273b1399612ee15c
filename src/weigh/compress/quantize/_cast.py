"""Torch models in 16 bits a number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weigh.choice import Unfit
from weigh.compress.quantize._graph import HINT, raised
from weigh.compress.quantize._packing import loaded
from weigh.model.module import load_module, need_torch, save_module
from weigh.model.onnx_file import operators
from weigh.model.source import Source


def cast(source: Source, folder: Path, name: str, number: str) -> Path:
    """Write a torch model with its weights and its arithmetic in another floating point.

    Raises:
        Unfit: it is no torch model, a weight is beyond the numbers, or torch.export cannot trace it.
    """
    import torch

    need_torch(source, name)
    net = loaded(source, name) if source.format == "huggingface" else load_module(source)
    to = getattr(torch, number)
    _need_within(net, to, number)
    return save_module(net.to(to), source, folder, number)


def _need_within(net: Any, to: Any, number: str) -> None:
    import torch

    most = torch.finfo(to).max
    for place, weight in ((name, one.detach()) for name, one in net.named_parameters()):
        if weight.is_floating_point() and float(weight.abs().max()) > most:
            raise Unfit(
                f"'{place}' holds a weight of {float(weight.abs().max()):,.6g}, and {number} ends at {most:,.0f}"
            )


def stored(model: Path, folder: Path) -> Path:
    """Write an ONNX graph whose float32 weights of two dimensions or more lie in bfloat16, and are cast when it loads.

    Raises:
        Unfit: there are none.
    """
    import onnx
    from onnx import TensorProto, helper

    graph = onnx.load(model)
    wide = [one for one in graph.graph.initializer if one.data_type == TensorProto.FLOAT and len(one.dims) >= 2]
    if not wide:
        raise Unfit(f"nothing to halve: this graph holds no float32 weights, only {operators(graph.graph)}. {HINT}")
    for tensor in wide:
        name = tensor.name
        tensor.CopyFrom(_in_bfloat16(tensor))
        cast_back = helper.make_node("Cast", [tensor.name], [name], name=f"{name}_cast", to=TensorProto.FLOAT)
        graph.graph.node.insert(0, cast_back)
    onnx.save(raised(graph), folder / "model.onnx")
    return folder / "model.onnx"


def _in_bfloat16(tensor: Any) -> Any:
    """A float32 tensor, each number rounded to the nearest with 16 bits, under another name."""
    import torch
    from onnx import TensorProto, helper, numpy_helper

    rounded = torch.from_numpy(numpy_helper.to_array(tensor).copy()).to(torch.bfloat16)
    held = rounded.view(torch.int16).numpy().tobytes()
    return helper.make_tensor(f"{tensor.name}_bfloat16", TensorProto.BFLOAT16, tensor.dims, held, raw=True)
