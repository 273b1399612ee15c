"""int4 weights, rounded so that the outputs of layers change little."""

from pathlib import Path
from typing import ClassVar, final

from pydantic import Field

from weigh.choice import Needs
from weigh.compress.quantize import Calibration, Quantizer
from weigh.compress.quantize._graph import graph_of
from weigh.compress.quantize._graph_bits import solved_graph
from weigh.compress.quantize._packing import (
    EMBEDDINGS,
    NEEDS,
    Group,
    inner_layers,
    loaded,
    need_rows,
    outer_layers,
    write,
)
from weigh.compress.quantize._solve import WINDOWS, solve_blocks
from weigh.model.packed import METHOD, Scheme
from weigh.model.source import Source


@final
class Gptq(Quantizer):
    """Weights of 4 bits, rounded by the Hessian of each layer on calibration text, so that errors make up for another.

    Good for language models in 4 bits: the size and the speed of int4_weights at a fraction of its loss (on SmolLM2
    0.04 nats a token, against 0.19).

    Bad where text that is like the later requests is missing, and for the time that it takes: each block is run twice,
    and a matrix of inputs x inputs solved for each layer.

    Source: Frantar et al., GPTQ (arXiv 2210.17323). Written here, since torchao 0.18 has it for CUDA alone
    and ONNX Runtime's gives the numbers of rounding to the nearest.
    """

    packs: ClassVar[str] = METHOD
    needs: ClassVar[Needs] = NEEDS

    group: Group = 32
    windows: int = WINDOWS
    damping: float = Field(0.01, gt=0, description="share of the mean energy of inputs that is added to each")
    embeddings: bool = EMBEDDINGS

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        scheme = Scheme(4, self.group, symmetric=False)
        if source.format != "huggingface":
            with graph_of(source, self.name) as graph:
                return solved_graph(graph, calibration, folder, scheme, self.damping)
        net = loaded(source, self.name)
        layers = inner_layers(net)
        need_rows(layers, self.group)
        outer = outer_layers(net) if self.embeddings else {}
        made = solve_blocks(net, calibration, self.windows, dict.fromkeys(layers, scheme), self.damping)
        return write(net, source, folder, {**made, **outer})
