"""What is known of an artefact: its parameters, and what its teacher was asked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.choice import Values
from weigh.model.artefact import artefacts

if TYPE_CHECKING:
    from weigh.model.artefact import Artefact

NAME = "distilled.json"


def write_facts(folder: Path, asked: Mapping[str, int], losses: list[float], layers: list[int]) -> None:
    """How a student was taught, beside its weights."""
    facts = {
        "teacher_rows": asked["rows"], "teacher_tokens": asked["tokens"], "layers": layers,
        "losses": [round(loss, 6) for loss in losses],
    }  # fmt: skip
    (folder / NAME).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def facts_of(made: Path) -> dict[str, Any]:
    """What `write_facts` wrote beside an artefact; empty for a model that was not made here."""
    file = (made if made.is_dir() else made.parent) / NAME
    if not made.resolve().is_relative_to(artefacts().resolve()) or not file.is_file():
        return {}
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def counted(module: Any, made: Artefact) -> Values:
    """The exact measures of this choice."""
    return {
        "parameters": parameters(module, made) / 1e6,
        "teacher_calls": float(facts_of(made.path).get("teacher_rows", 0)),
    }


def parameters(module: Any, made: Artefact) -> int:
    """How many numbers a model has, shared ones once; of an ONNX file, those of its floating-point tensors."""
    if module is not None:
        return sum(weight.numel() for weight in module.parameters())
    import onnx

    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16)
    tensors = onnx.load(made.path, load_external_data=False).graph.initializer
    return sum(math.prod(tensor.dims) for tensor in tensors if tensor.data_type in floats)
