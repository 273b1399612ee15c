"""The model as an ONNX file, which platforms of every make can load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.model.artefact import artefact
from weigh.model.task import Calibration

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weigh.model.source import Source


def as_onnx(source: Source, example: Mapping[str, NDArray[Any]]) -> Path:
    """The file itself, or the export of a torch net, made once.

    Raises:
        Unfit: the net cannot be exported.
    """
    if source.format == "onnx":
        return source.path
    import numpy as np

    from weigh.serve.runtime.onnx_runtime import OnnxRuntime

    feeds = {name: np.concatenate([values] * 2)[:2] for name, values in example.items()}
    return artefact(OnnxRuntime(), source, Calibration(feeds, source.batch)).path


def output_of(source: Source, graph: Path) -> str:
    """The output that is asked for: the model's own, or the first of what a torch net was exported to."""
    if source.format == "onnx":
        return source.outputs[0].name
    import onnx

    name: str = onnx.load(graph, load_external_data=False).graph.output[0].name
    return name
