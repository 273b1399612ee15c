"""int4 weights, arithmetic in floating point."""

from pathlib import Path
from typing import ClassVar, final

from weigh.choice import Needs
from weigh.compress.quantize import Calibration, Quantizer
from weigh.compress.quantize._few_bits import few_bits
from weigh.compress.quantize._graph import graph_of
from weigh.compress.quantize._packing import EMBEDDINGS, NEEDS, Group, pack
from weigh.model.packed import METHOD, Scheme
from weigh.model.source import Source


@final
class Int4Weights(Quantizer):
    """Weights of 4 bits, each group of neighbouring inputs with a scale and a zero point; nothing is calibrated.

    Good for size and for the time of a written token, at once: nothing is smaller or sooner made.

    Bad for small models, which lose much by it: on SmolLM2 the text costs 0.19 nats a token more. gptq has the same
    size and speed and loses less.

    Source: torch's CPU kernel `_weight_int4pack_mm_for_cpu`, in the file layout of compressed-tensors (pack-quantized);
    of ONNX files and other nets ONNX Runtime's `MatMulNBits`.
    """

    packs: ClassVar[str] = METHOD
    needs: ClassVar[Needs] = NEEDS

    group: Group = 32
    embeddings: bool = EMBEDDINGS

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        if source.format != "huggingface":
            with graph_of(source, self.name) as graph:
                return few_bits(graph, folder, 4, self.group)
        return pack(source, folder, self.name, Scheme(4, self.group, symmetric=False), self.embeddings)
