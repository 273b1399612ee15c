"""int8 weights, arithmetic in floating point."""

from pathlib import Path
from typing import ClassVar, final

from weigh.choice import Needs
from weigh.compress.quantize import Calibration, Quantizer
from weigh.compress.quantize._few_bits import few_bits
from weigh.compress.quantize._graph import graph_of
from weigh.compress.quantize._packing import EMBEDDINGS, NEEDS, pack
from weigh.model.packed import METHOD, Scheme
from weigh.model.source import Source


@final
class Int8Weights(Quantizer):
    """int8 weights with one scale an output channel; activations stay in floating point, so nothing is calibrated.

    Good for language models that write token after token, where reading the weights is what takes the time: SmolLM2
    loses under 1 % of its perplexity at half of bfloat16's size.

    Bad for reading long prompts and for large batches, which multiply more than they read: int8_dynamic multiplies
    whole numbers.

    Source: torch's CPU kernel `_weight_int8pack_mm`, in the file layout of compressed-tensors (pack-quantized, 8 bits);
    of ONNX files and other nets ONNX Runtime's `MatMulNBits` in groups of 32 inputs.
    """

    packs: ClassVar[str] = METHOD
    needs: ClassVar[Needs] = NEEDS

    embeddings: bool = EMBEDDINGS

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        if source.format != "huggingface":
            with graph_of(source, self.name) as graph:
                return few_bits(graph, folder, 8, 32)
        return pack(source, folder, self.name, Scheme(), self.embeddings)
