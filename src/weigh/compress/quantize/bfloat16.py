"""Brain floating point."""

from pathlib import Path
from typing import ClassVar, final

from weigh.choice import Needs
from weigh.compress.quantize import Calibration, Quantizer
from weigh.compress.quantize._cast import cast, stored
from weigh.compress.quantize._packing import NEEDS
from weigh.model.source import Source


@final
class BFloat16(Quantizer):
    """Brain floating point: weights and arithmetic with 8 bits of exponent and 8 of precision.

    Good for halving time and size where the CPU multiplies in it (AVX512-BF16, AMX, ARM v8.6), without calibration and
    without overflow: it reaches as far as float32.

    Bad where the CPU lacks those instructions, and for numbers that need more than three decimal digits. It makes a
    model smaller only if that is kept in float32 now. Of an ONNX file the weights alone are kept so, and computed on in
    float32: ONNX Runtime has next to no bfloat16 kernels for CPUs.

    Source: Kalamkar et al., A study of bfloat16 for deep learning training (arXiv 1905.12322).
    """

    needs: ClassVar[Needs] = NEEDS

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        if source.format == "onnx":
            return stored(source.path, folder)
        return cast(source, folder, self.name, "bfloat16")
