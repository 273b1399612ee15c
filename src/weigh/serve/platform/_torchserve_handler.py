"""What TorchServe runs for a model. This file goes into the archive, so it needs what the model's format needs alone.

It takes and gives the tensors of the Open Inference Protocol v2 as JSON, one message a request.
"""

import os
from typing import Any

NAMES = {
    "FP32": "float32", "FP64": "float64", "FP16": "float16", "INT64": "int64", "INT32": "int32", "INT16": "int16",
    "INT8": "int8", "UINT8": "uint8", "BOOL": "bool", "BYTES": "object",
}  # fmt: skip
TYPES = {name: kind for kind, name in NAMES.items()}


class Handler:
    """One worker's model: an .onnx file, or a `torch.export` archive (.pt2)."""

    def __init__(self) -> None:
        self.initialized = False
        self.run: Any = None

    def initialize(self, context: Any) -> None:
        """Load what lies in the archive; called by TorchServe."""
        folder = context.system_properties.get("model_dir")
        file = os.path.join(folder, context.manifest["model"]["serializedFile"])
        threads = int(os.environ.get("WEIGH_THREADS", "1"))
        self.run = onnx_runner(file, threads) if file.endswith(".onnx") else exported_runner(file, threads)
        self.initialized = True

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[dict[str, Any]]:
        """Answer a batch of requests, each by itself; called by TorchServe."""
        return [self.answer(one.get("body") or one.get("data")) for one in data]

    def answer(self, asked: Any) -> dict[str, Any]:
        """One request's outputs."""
        import json

        import numpy as np

        told = json.loads(asked) if isinstance(asked, (bytes, bytearray, str)) else asked
        feed = {
            one["name"]: np.array(one["data"], NAMES[one["datatype"]]).reshape(one["shape"]) for one in told["inputs"]
        }
        outputs = [
            {"name": name, "shape": list(values.shape), "datatype": TYPES[str(values.dtype)],
             "data": values.ravel().tolist()}
            for name, values in self.run(feed).items()
        ]  # fmt: skip
        return {"model_name": "", "outputs": outputs}


def onnx_runner(file: str, threads: int) -> Any:
    """Runs an ONNX file in ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return lambda feed: dict(zip(names, session.run(names, feed)))


def exported_runner(file: str, threads: int) -> Any:
    """Runs a `torch.export` archive."""
    import torch

    torch.set_num_threads(threads)
    module = torch.export.load(file).module()

    def run(feed: dict[str, Any]) -> dict[str, Any]:
        with torch.inference_mode():
            made = module(*(torch.from_numpy(values) for values in feed.values()))
        many = made if isinstance(made, (tuple, list)) else [made]
        return {f"output_{place}": one.numpy() for place, one in enumerate(many)}

    return run
