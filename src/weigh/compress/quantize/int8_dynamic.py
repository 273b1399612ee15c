"""int8 weights, activations quantized as they come."""

from pathlib import Path
from typing import final

from weigh.compress.quantize import Calibration, Quantizer
from weigh.compress.quantize._graph import REDUCE_RANGE, need_onnx, need_quantized, prepared, quiet
from weigh.model.source import Source


@final
class Int8Dynamic(Quantizer):
    """int8 weights; the range of each activation is taken from the batch at hand, so nothing is calibrated.

    Good for large matrix products (transformers, wide MLPs, recurrent nets) and where inputs drift, since no range
    is frozen.

    Bad for small models, where finding ranges at every run costs more than it saves, and for convolutions, which stay
    in float32 (the CPU kernels lack them).

    Source: Jacob et al., Quantization and training of neural networks, CVPR 2018 (arXiv 1712.05877); ONNX Runtime
    `quantize_dynamic`.
    """

    reduce_range: bool = REDUCE_RANGE

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from onnxruntime.quantization.registry import IntegerOpsRegistry

        ready = prepared(need_onnx(source, self.name), folder)
        kinds = [kind for kind in IntegerOpsRegistry if kind != "Conv"]
        made = folder / "model.onnx"
        with quiet():
            quantize_dynamic(
                ready, made, op_types_to_quantize=kinds, weight_type=QuantType.QInt8, reduce_range=self.reduce_range
            )
        ready.unlink()
        return need_quantized(made)
