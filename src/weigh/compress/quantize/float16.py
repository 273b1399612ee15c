"""Half precision."""

from pathlib import Path
from typing import ClassVar, final

from weigh.choice import Needs, Unfit
from weigh.compress.quantize import Calibration, Quantizer
from weigh.compress.quantize._graph import packed, quiet, weights
from weigh.compress.quantize._model import operators


@final
class Float16(Quantizer):
    """Half precision: weights and arithmetic in IEEE 754 binary16; inputs and outputs keep their types.

    Good for halving a file with next to no loss of accuracy, without calibration; fast on GPUs and on ARM.

    Bad for speed on x86 CPUs: ONNX Runtime has few binary16 kernels there, so it computes in float32 between casts.
    Values over 65,504 overflow.

    Source: IEEE 754-2008; onnxruntime.transformers.float16 (after onnxconverter-common).
    """

    needs: ClassVar[Needs] = Needs(packages=("onnx>=1.18", "onnxruntime>=1.22"), extra="compress")

    def convert(self, model: Path, calibration: Calibration, folder: Path) -> Path:
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16

        graph = onnx.load(model)
        if not weights(graph, ("FLOAT",), dims=1):
            raise Unfit(f"nothing to halve: this graph holds no float32 tensors, only {operators(graph.graph)}")
        with quiet():
            half = convert_float_to_float16(graph, keep_io_types=True)
        made = folder / "model.onnx"
        onnx.save(packed(half), made)
        return made
