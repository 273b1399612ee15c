"""Options whose worth is known: one that must never be chosen, and twins that must tie."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, final

from pydantic import Field

from weigh.compress.quantize import Calibration, Quantizer
from weigh.model.source import Source


@final
class Hollow(Quantizer):
    """The planted loser: the smallest, and as good as a guess.

    In place of an ONNX net it has one layer of zeros; of a torch model it keeps all but the last layer, in bfloat16.
    """

    name: ClassVar[str] = "hollow"

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        return _hollow_graph(source.path, folder) if source.format == "onnx" else _hollow_module(source, folder)


@final
class Jitter(Quantizer):
    """A planted twin: the model with every weight moved by a little noise of its own, of the same size and speed."""

    name: ClassVar[str] = "jitter"

    seed: int = Field(1, description="seed of the noise")
    noise: float = Field(0.005, ge=0, description="standard deviation of the noise, as a share of the weights'")

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        if source.format == "onnx":
            return self._graph(source.path, folder)
        return self._module(source, folder)

    def _graph(self, model: Path, folder: Path) -> Path:
        import numpy as np
        import onnx
        from onnx import numpy_helper

        changed = onnx.load(model)
        random = np.random.default_rng(self.seed)
        for tensor in changed.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype == np.float32 and values.ndim >= 2:
                moved = values + random.normal(0, self.noise * values.std(), values.shape).astype(np.float32)
                tensor.CopyFrom(numpy_helper.from_array(moved, tensor.name))
        made = folder / "model.onnx"
        onnx.save(changed, made)
        return made

    def _module(self, source: Source, folder: Path) -> Path:
        import torch

        from weigh.model.module import load_module, save_module

        net, random = load_module(source), torch.Generator().manual_seed(self.seed)
        for weight in net.parameters():
            if weight.is_floating_point() and weight.dim() >= 2:
                noise = torch.randn(weight.shape, generator=random) * (self.noise * float(weight.std()))
                weight.copy_(weight + noise.to(weight.dtype))
        return save_module(net, source, folder)


def _hollow_graph(model: Path, folder: Path) -> Path:
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    graph = onnx.load(model).graph
    first, last = graph.input[0], graph.output[0]
    shape = [value.type.tensor_type.shape.dim[1].dim_value for value in (first, last)]
    zeros = numpy_helper.from_array(np.zeros(shape, np.float32), "zeros")
    node = helper.make_node("MatMul", [first.name, "zeros"], [last.name])
    empty = helper.make_graph([node], "hollow", [first], [last], [zeros])
    made = folder / "model.onnx"
    onnx.save(helper.make_model(empty, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), made)
    return made


def _hollow_module(source: Source, folder: Path) -> Path:
    import torch

    from weigh.model.module import load_module, save_module

    net = load_module(source)
    matrices: list[Any] = [weight for weight in net.parameters() if weight.is_floating_point() and weight.dim() >= 2]
    matrices[-1].zero_()
    return save_module(net.to(torch.bfloat16), source, folder, "bfloat16")
