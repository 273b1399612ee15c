"""A model file, run by ONNX Runtime on one thread: what it answers, and how long that takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.compress.material import Material

_TOGETHER = 250
"""Rows of one run, where the company of a row changes nothing."""


class Net:
    """One file in a session of its own."""

    def __init__(self, path: Path, subject: Material) -> None:
        import onnx
        import onnxruntime as ort

        settings = ort.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        settings.log_severity_level = 4
        self._session = ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        self._name = self._session.get_inputs()[0].name
        self._threshold = subject.answer.get("threshold")
        kinds = {node.op_type for node in onnx.load(path, load_external_data=False).graph.node}
        self._rows = 1 if "DynamicQuantizeLinear" in kinds else _TOGETHER

    def run(self, x: NDArray[np.float32]) -> NDArray[Any]:
        """The raw output for some rows at once."""
        return np.asarray(self._session.run(None, {self._name: x})[0])

    def right(self, x: NDArray[np.float32], y: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each row is answered rightly; a row at a time where ranges are found at run time."""
        parts = [self._answers(self.run(x[start : start + self._rows])) for start in range(0, len(x), self._rows)]
        return np.asarray(np.concatenate(parts) == y)

    def _answers(self, raw: NDArray[Any]) -> NDArray[Any]:
        table = raw.reshape(len(raw), -1)
        return table[:, 0] > self._threshold if self._threshold is not None else table.argmax(axis=1)
