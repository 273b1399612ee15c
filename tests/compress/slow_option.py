"""An option of an outsider: answers as before, with many times the work."""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from weigh.compress.quantize import Calibration, Quantizer
from weigh.model.source import Source


class Slow(Quantizer):
    """Adds zero times a wide product to the scores. Source: none."""

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        changed = onnx.load(source.path)
        graph = changed.graph
        width = graph.input[0].type.tensor_type.shape.dim[1].dim_value
        classes = graph.output[0].type.tensor_type.shape.dim[1].dim_value
        source = graph.input[0].name
        for i, shape in enumerate([(width, 1024), (1024, 1024), (1024, classes)]):
            graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.float32), f"wide{i}"))
            graph.node.append(helper.make_node("MatMul", [source, f"wide{i}"], [f"product{i}"]))
            source = f"product{i}"
        graph.node.append(helper.make_node("Add", ["scores", source], ["slow"]))
        graph.output[0].name = "slow"
        for node in graph.node:
            names = {"scores": "inner", "slow": "scores"}
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]
        graph.output[0].name = "scores"
        made = folder / "model.onnx"
        onnx.save(changed, made)
        return made
