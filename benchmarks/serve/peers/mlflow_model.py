"""The net as an MLflow model, for `mlflow models serve`: the script writes it into the folder that it is told."""

from __future__ import annotations

import sys
from pathlib import Path

import _session
import mlflow.onnx
import numpy as np
import onnx
from mlflow.models import infer_signature

if __name__ == "__main__":
    rows = np.zeros((1, 64), dtype=np.float32)
    mlflow.onnx.save_model(
        onnx.load(sys.argv[1]), Path(sys.argv[2]),
        onnx_execution_providers=["CPUExecutionProvider"],
        onnx_session_options={"intra_op_num_threads": 1, "inter_op_num_threads": 1},
        signature=infer_signature(rows, _session.opened().run(None, {"x": rows})[0]),
        pip_requirements=[],
    )  # fmt: skip
