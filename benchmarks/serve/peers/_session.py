"""The net in ONNX Runtime, one thread, as every peer runs it: shared by the scripts, which run without weigh."""

from __future__ import annotations

import os
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import onnxruntime


def opened() -> onnxruntime.InferenceSession:
    """The net that the variable SERVED_NET names."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(os.environ["SERVED_NET"], options, providers=["CPUExecutionProvider"])


def answered(session: onnxruntime.InferenceSession, asked: dict[str, Any]) -> dict[str, Any]:
    """A request of the Open Inference Protocol v2 -> its answer, both as Python has JSON."""
    one = asked["inputs"][0]
    rows = np.array(one["data"], dtype=np.float32).reshape(one["shape"])
    scores = session.run(None, {one["name"]: rows})[0]
    output = {"name": "scores", "datatype": "FP32", "shape": list(scores.shape), "data": scores.ravel().tolist()}
    return {"model_name": "net", "outputs": [output]}
