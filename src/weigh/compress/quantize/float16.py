"""Half precision."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, final

from weigh.choice import Unfit
from weigh.compress.quantize import Calibration, Quantizer
from weigh.compress.quantize._cast import cast
from weigh.compress.quantize._graph import HINT, packed, quiet, typed, weights
from weigh.model.onnx_file import operators
from weigh.model.source import Source

if TYPE_CHECKING:
    import onnx

GREATEST = 65504
WEIGHED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@final
class Float16(Quantizer):
    """Half precision: weights and arithmetic in IEEE 754 binary16; inputs and outputs keep their types.

    Good for halving a file with next to no loss of accuracy, without calibration; fast on GPUs and on ARM.

    Bad for speed on x86 CPUs: ONNX Runtime has few binary16 kernels there, so it computes in float32 between casts, and
    torch's are slow for more than a row at a time.
    What is computed beyond 65,504 overflows, constants beyond it are brought back to it, and a model with weights
    beyond it is refused. Numbers nearer zero than 6e-8 become 6e-8.

    Source: IEEE 754-2008; onnxruntime.transformers.float16 (after onnxconverter-common).
    """

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        if source.format != "onnx":
            return cast(source, folder, self.name, "float16")
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel

        graph = onnx.load(source.path)
        if not weights(graph, ("FLOAT",), dims=1):
            raise Unfit(f"nothing to halve: this graph holds no float32 tensors, only {operators(graph.graph)}. {HINT}")
        _need_small(graph)
        with quiet():
            half = OnnxModel(convert_float_to_float16(typed(graph), keep_io_types=True))
            half.topological_sort()  # the casts were appended, after those that read them
        made = folder / "model.onnx"
        onnx.save(packed(half.model), made)
        return made


def _need_small(model: onnx.ModelProto) -> None:
    import numpy as np
    from onnx import TensorProto, numpy_helper

    read = {name for node in model.graph.node if node.op_type in WEIGHED for name in node.input}
    for tensor in model.graph.initializer:
        if tensor.name in read and tensor.data_type == TensorProto.FLOAT:
            most = float(np.abs(numpy_helper.to_array(tensor)).max(initial=0))
            if most > GREATEST:
                raise Unfit(f"'{tensor.name}' holds a weight of {most:,.6g}, and float16 ends at {GREATEST:,}")
