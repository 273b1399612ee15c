"""4-bit numbers at the quantiles of a normal distribution."""

from pathlib import Path
from typing import ClassVar, final

from pydantic import Field

from weigh.choice import Needs
from weigh.compress.quantize import Calibration, Quantizer
from weigh.compress.quantize._few_bits import in_nf4
from weigh.compress.quantize._graph import graph_of
from weigh.compress.quantize._packing import inner_layers, loaded
from weigh.model.source import Source


@final
class Nf4(Quantizer):
    """NF4: weights of 4 bits that stand for the quantiles of a normal distribution, as QLoRA keeps a frozen base.

    Good for a base that is to be trained further with LoRA, and where bitsandbytes loads it anyway.

    Bad for speed on a CPU, where its kernels are few, and for quality where there is text to calibrate on: SmolLM2
    loses 0.28 nats a token by it, and 0.04 by gptq. The table of tokens and the output layer stay in bfloat16.

    Source: Dettmers et al., QLoRA (arXiv 2305.14314); bitsandbytes through transformers; of ONNX files and
    other nets ONNX Runtime's `MatMulBnb4`.
    """

    packs: ClassVar[str] = "bitsandbytes"
    needs: ClassVar[Needs] = Needs(
        packages=("torch>=2.13", "transformers>=5.23", "bitsandbytes>=0.50", "accelerate>=1.15"), extra="compress"
    )

    double: bool = Field(False, description="quantize the scales of the blocks of 64 weights too, to 8 bits")

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        if source.format != "huggingface":
            with graph_of(source, self.name) as graph:
                return in_nf4(graph, folder)
        inner_layers(loaded(source, self.name))
        from weigh.compress.quantize._bitsandbytes import write_nf4

        return write_nf4(source, folder, self.double)
