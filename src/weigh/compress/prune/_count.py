"""Counting what is in a model: its numbers, and the zeros among its weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.compress.prune._graph import tensors, weights
from weigh.compress.prune._lifted import layer_weights
from weigh.model.layers import layers

if TYPE_CHECKING:
    from weigh.model.artefact import Artefact


def counted(module: Any, made: Artefact) -> dict[str, float]:
    """Sparsity, and millions of parameters; `module` is None for an ONNX file."""
    if module is None:
        return _of_graph(made.path)
    numbers = sum(one.numel() for one in module.parameters())
    return {"sparsity": zeros(module), "parameters": numbers / 1e6}


def zeros(module: Any) -> float:
    """The share of weights that are zero."""
    weights = _weights(module)
    total = sum(weight.numel() for weight in weights)
    return sum(int((weight == 0).sum()) for weight in weights) / total if total else 0.0


def _weights(module: Any) -> list[Any]:
    from torch.fx import GraphModule

    if isinstance(module, GraphModule):
        return layer_weights(module)
    return [layer.weight for layer in layers(module).values()]


def _of_graph(path: Path) -> dict[str, float]:
    import onnx

    model = onnx.load(path)
    tables = list(weights(model).values())
    total = sum(table.size for table in tables)
    return {
        "sparsity": sum(int((table == 0).sum()) for table in tables) / total if total else 0.0,
        "parameters": sum(tensors(model)) / 1e6,
    }
