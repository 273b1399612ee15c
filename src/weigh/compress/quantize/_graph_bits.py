"""ONNX graphs in 4 bits, rounded by their inputs, and in 8 where 4 cost most."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.compress.quantize._few_bits import in_bits, need_products, only_read, products
from weigh.compress.quantize._hessian import solved
from weigh.compress.quantize._packing import Whole
from weigh.compress.quantize._ranges import of_graph
from weigh.compress.quantize._solve import first
from weigh.model.packed import Scheme
from weigh.model.task import Calibration

if TYPE_CHECKING:
    import onnx
    import torch
    from numpy.typing import NDArray


def solved_graph(model: Path, calibration: Calibration, folder: Path, scheme: Scheme, damping: float) -> Path:
    """Write a graph whose products with constant weights are in 4 bits, by the Hessians of their inputs.

    Raises:
        Unfit: it has none, or there are no calibration rows.
    """
    import onnx

    graph, some = products(onnx.load(model)), first(calibration, calibration.rows)
    found = need_products(graph, scheme.bits)
    plain = folder / "plain.onnx"
    onnx.save(graph, plain)
    hessians = _hessians(plain, some, folder, {node.input[0] for node in found})
    plain.unlink()
    for node in found:
        _replace(graph, node, hessians[node.input[0]], scheme, damping)
    only_read(graph)
    graph.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    onnx.save(graph, folder / "model.onnx")
    return folder / "model.onnx"


def _hessians(model: Path, some: Calibration, folder: Path, names: set[str]) -> dict[str, torch.Tensor]:
    """The sum of x^T x over what each of these tensors is, by name."""
    import numpy as np
    import torch

    sums: dict[str, NDArray[Any]] = {}
    seen = dict.fromkeys(some.feeds, None)
    for name, values in of_graph(model, some, folder)():
        if name in names and name not in seen:
            flat = np.asarray(values, np.float32).reshape(-1, values.shape[-1])
            sums[name] = sums.get(name, 0) + flat.T @ flat
    for name in names & set(seen):
        flat = np.asarray(some.feeds[name], np.float32).reshape(-1, some.feeds[name].shape[-1])
        sums[name] = flat.T @ flat
    return {name: torch.from_numpy(one) for name, one in sums.items()}


def _replace(
    graph: onnx.ModelProto, node: onnx.NodeProto, hessian: torch.Tensor, scheme: Scheme, damping: float
) -> None:
    """Put a product with packed weights in the place of one; groups are filled up with inputs that are always 0."""
    import torch
    from onnx import numpy_helper

    held = next(tensor for tensor in graph.graph.initializer if tensor.name == node.input[1])
    weight = torch.from_numpy(numpy_helper.to_array(held).copy()).T
    short = -weight.shape[1] % scheme.group
    kept = solved(
        torch.nn.functional.pad(weight, (0, short)), torch.nn.functional.pad(hessian, (0, short, 0, short)), scheme,
        damping,
    )  # fmt: skip
    parts = _parts(node.name, kept, scheme)
    graph.graph.initializer.extend(parts)
    _turn(node, parts, columns=weight.shape[1], rows=weight.shape[0], group=scheme.group)


def _parts(name: str, kept: Whole, scheme: Scheme) -> list[Any]:
    """The weights, scales and zero points as ONNX Runtime's MatMulNBits reads them: two numbers a byte, low first."""
    import torch
    from onnx import numpy_helper

    assert kept.zero is not None
    shifted, points = (
        (kept.numbers.to(torch.int16) + 8).to(torch.uint8),
        (kept.zero.to(torch.int16) + 8).to(torch.uint8),
    )
    blocks = shifted.reshape(len(shifted), -1, scheme.group)
    points = torch.nn.functional.pad(points, (0, points.shape[1] % 2))
    return [
        numpy_helper.from_array((blocks[..., ::2] | (blocks[..., 1::2] << 4)).numpy(), f"{name}_numbers"),
        numpy_helper.from_array(kept.scale.float().flatten().numpy(), f"{name}_scales"),
        numpy_helper.from_array((points[:, ::2] | (points[:, 1::2] << 4)).flatten().numpy(), f"{name}_zeros"),
    ]


def _turn(node: onnx.NodeProto, parts: list[Any], columns: int, rows: int, group: int) -> None:
    from onnx import helper

    told: dict[str, Any] = {"K": columns, "N": rows, "bits": 4, "block_size": group}
    names = [node.input[0], *(part.name for part in parts)]
    node.CopyFrom(helper.make_node("MatMulNBits", names, node.output, node.name, domain="com.microsoft", **told))


def mixed_graph(model: Path, calibration: Calibration, folder: Path, share: float, group: int) -> Path:
    """Write a graph in 4 bits, and in 8 where rounding a product alone to 4 changes the outputs most.

    Raises:
        Unfit: it has no products with constant weights, or there are no calibration rows.
    """
    import onnx

    graph, some = products(onnx.load(model)), first(calibration, calibration.rows)
    names = [node.name for node in need_products(graph, 4)]
    before = _said(graph, some)
    harm = {name: _change(before, _said(in_bits(graph, 4, group, [name]), some)) for name in names}
    kept = sorted(names, key=lambda name: -harm[name])[: max(1, round(share * len(names)))]
    eight = in_bits(graph, 8, group, kept)
    onnx.save(in_bits(eight, 4, group), folder / "model.onnx")
    return folder / "model.onnx"


def _said(graph: onnx.ModelProto, some: Calibration) -> list[Any]:
    """What comes out on the calibration rows, output by output, batch by batch."""
    import onnxruntime

    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return [out for feed in some.batches() for out in session.run(None, feed)]


def _change(before: list[Any], after: list[Any]) -> float:
    """The squared change of numbers, summed; of labels, how many are others."""
    import numpy as np

    return sum(
        float(np.square(a.astype(np.float64) - b).sum()) if a.dtype.kind == "f" else float((a != b).sum())
        for a, b in zip(before, after)
    )
