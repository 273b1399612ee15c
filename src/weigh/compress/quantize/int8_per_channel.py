"""int8 weights and activations, one scale a channel."""

from pathlib import Path
from typing import final

from weigh.choice import Unfit
from weigh.compress.quantize import Calibration, Quantizer
from weigh.compress.quantize._activations import Activations
from weigh.compress.quantize._graph import REDUCE_RANGE, Form, graph_of, prepared, static
from weigh.model.source import Source


@final
class Int8PerChannel(Quantizer):
    """int8 weights with one scale for each output channel, and activations by their least and greatest value.

    Good where channels differ in size (convolutions, nets with folded batch norm): a small channel keeps its precision.

    Bad, a little, for size and time against one scale a tensor: each channel stores a scale of its own.

    Source: Krishnamoorthi, Quantizing deep convolutional networks for efficient inference (arXiv 1806.08342); ONNX
    Runtime `quantize_static(per_channel=True)`.
    """

    activations: Activations = "uint8"
    reduce_range: bool = REDUCE_RANGE

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        if source.format == "huggingface":
            raise Unfit("int8_static has one scale for each output channel on Hugging Face models already: take that")
        with graph_of(source, self.name) as graph:
            ready = prepared(graph, folder)
        form = Form(per_channel=True, reduce_range=self.reduce_range, activations=self.activations)
        return static(ready, calibration, folder, form)
