"""int8 weights and activations, ranges calibrated."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, final

from pydantic import Field

from weigh.compress.quantize import Calibration, Quantizer
from weigh.compress.quantize._activations import Activations
from weigh.compress.quantize._graph import REDUCE_RANGE, Form, graph_of, prepared, static
from weigh.compress.quantize._ranges import (
    Passes,
    Ranges,
    entropy_ranges,
    of_graph,
    percentile_ranges,
    widest_ranges,
)
from weigh.compress.quantize._static import static_folder
from weigh.model.packed import METHOD
from weigh.model.source import Source


@final
class Int8Static(Quantizer):
    """int8 weights and activations, whose ranges are frozen after looking at the calibration rows.

    Good for speed: no range is found at run time, and neighbouring operators pass int8 to each other. `minmax` clips
    nothing that calibration saw; `percentile` and `entropy` give up rare large values for finer steps.

    Bad where inputs drift out of the calibrated range (they are clipped) and for activations with few, important
    outliers, as language models have them: those are refused.

    Source: Jacob et al. (arXiv 1712.05877); entropy after Migacz, 8-bit inference with TensorRT, GTC 2017; ONNX Runtime
    `quantize_static`, for which torch nets are exported; of Hugging Face encoders torch's CPU kernel `_int_mm`.
    """

    packs: ClassVar[str] = METHOD
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"calibration": "minmax"},
        {"calibration": "entropy"},
        {"calibration": "percentile"},
    )

    calibration: Literal["minmax", "entropy", "percentile"] = Field(
        "minmax", description="how an activation's range is found"
    )
    percentile: float = Field(
        99.9, gt=50, lt=100, description="percentile: share of values, in percent, that is not clipped"
    )
    activations: Activations = "uint8"
    reduce_range: bool = REDUCE_RANGE

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        if source.format == "huggingface":
            return static_folder(source, calibration, folder, self.name, self._ranges)
        with graph_of(source, self.name) as graph:
            ready = prepared(graph, folder)
        form = Form(per_channel=False, reduce_range=self.reduce_range, activations=self.activations)
        found = None if self.calibration == "minmax" else self._ranges(of_graph(ready, calibration, folder))
        return static(ready, calibration, folder, form, found)

    def _ranges(self, passes: Passes) -> Ranges:
        if self.calibration == "percentile":
            return percentile_ranges(passes, self.percentile)
        return entropy_ranges(passes) if self.calibration == "entropy" else widest_ranges(passes)
