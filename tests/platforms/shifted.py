"""The toy's other version: every score is greater by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def shifted(model: Path, to: Path) -> Path:
    import onnx
    from onnx import numpy_helper

    net = onnx.load(model)
    for weight in net.graph.initializer:
        if weight.name == "b2":
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) + np.float32(1), "b2"))
    onnx.save(net, to)
    return to
