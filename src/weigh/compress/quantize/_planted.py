"""Options whose worth is known: one that must never be chosen, and twins that must tie."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, final

from pydantic import Field

from weigh.compress.quantize import Calibration, Quantizer
from weigh.model.source import Source


@final
class Hollow(Quantizer):
    """The planted loser: one layer of zeros in place of the net; the smallest, the fastest, and as good as a guess."""

    name: ClassVar[str] = "hollow"

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        import numpy as np
        import onnx
        from onnx import helper, numpy_helper

        graph = onnx.load(source.path).graph
        first, last = graph.input[0], graph.output[0]
        shape = [value.type.tensor_type.shape.dim[1].dim_value for value in (first, last)]
        zeros = numpy_helper.from_array(np.zeros(shape, np.float32), "zeros")
        node = helper.make_node("MatMul", [first.name, "zeros"], [last.name])
        empty = helper.make_graph([node], "hollow", [first], [last], [zeros])
        made = folder / "model.onnx"
        onnx.save(helper.make_model(empty, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), made)
        return made


@final
class Jitter(Quantizer):
    """A planted twin: the model with every weight moved by a little noise of its own, of the same size and speed."""

    name: ClassVar[str] = "jitter"

    seed: int = Field(1, description="seed of the noise")
    noise: float = Field(0.03, ge=0, description="standard deviation of the noise, as a share of the weights'")

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        import numpy as np
        import onnx
        from onnx import numpy_helper

        changed = onnx.load(source.path)
        random = np.random.default_rng(self.seed)
        for tensor in changed.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype == np.float32 and values.ndim >= 2:
                moved = values + random.normal(0, self.noise * values.std(), values.shape).astype(np.float32)
                tensor.CopyFrom(numpy_helper.from_array(moved, tensor.name))
        made = folder / "model.onnx"
        onnx.save(changed, made)
        return made
