"""int8 weights, activations quantized as they come."""

from pathlib import Path
from typing import ClassVar, Literal, final

from pydantic import Field

from weigh.compress.quantize import Calibration, Quantizer
from weigh.compress.quantize._graph import REDUCE_RANGE, graph_of, need_quantized, prepared, quiet
from weigh.compress.quantize._packing import EMBEDDINGS, pack
from weigh.model.packed import METHOD, Scheme
from weigh.model.source import Source


@final
class Int8Dynamic(Quantizer):
    """int8 weights; the range of each activation is taken from the batch at hand, so nothing is calibrated.

    Good for large matrix products (transformers, wide MLPs, recurrent nets) and where inputs drift, since no range
    is frozen.

    Bad for small models, where finding ranges at every run costs more than it saves, and for convolutions, which stay
    in float32 (the CPU kernels lack them). Bad for a language model with `steps=batch` and `head=true`: outliers of a
    few tokens then set the steps of all, and SmolLM2 writes another token half of the time.

    Source: Jacob et al., Quantization and training of neural networks, CVPR 2018 (arXiv 1712.05877); a scale a token
    after Yao et al., ZeroQuant (arXiv 2206.01861). ONNX Runtime `quantize_dynamic`, for which torch nets are exported;
    of Hugging Face models torch's CPU kernel `_int_mm`, in the file layout of compressed-tensors (int-quantized).
    """

    packs: ClassVar[str] = METHOD
    reduce_range: bool = REDUCE_RANGE
    steps: Literal["token", "batch"] = Field(
        "token", description="of a language model or an encoder: activations that share a scale, found as they come"
    )
    head: bool = Field(False, description="of a language model: multiply whole numbers in the output layer too")
    embeddings: bool = EMBEDDINGS

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        if source.format != "huggingface":
            with graph_of(source, self.name) as graph:
                return self._graph(graph, folder)
        scheme = Scheme(activations="dynamic" if self.steps == "token" else "tensor")
        return pack(source, folder, self.name, scheme, self.embeddings, scheme if self.head else None)

    def _graph(self, model: Path, folder: Path) -> Path:
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from onnxruntime.quantization.registry import IntegerOpsRegistry

        ready = prepared(model, folder)
        kinds = [kind for kind in IntegerOpsRegistry if kind != "Conv"]
        made = folder / "model.onnx"
        with quiet():
            quantize_dynamic(
                ready, made, op_types_to_quantize=kinds, weight_type=QuantType.QInt8, reduce_range=self.reduce_range
            )
        ready.unlink()
        return need_quantized(made)
