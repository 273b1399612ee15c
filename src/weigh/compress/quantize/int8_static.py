"""int8 weights and activations, ranges calibrated."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, final

from pydantic import Field

from weigh.compress.quantize import Calibration, Quantizer
from weigh.compress.quantize._activations import Activations
from weigh.compress.quantize._graph import REDUCE_RANGE, Form, need_onnx, prepared, static
from weigh.compress.quantize._ranges import entropy_ranges, percentile_ranges
from weigh.model.source import Source


@final
class Int8Static(Quantizer):
    """int8 weights and activations, whose ranges are frozen after looking at the calibration rows.

    Good for speed: no range is found at run time, and neighbouring operators pass int8 to each other. `minmax` clips
    nothing that calibration saw; `percentile` and `entropy` give up rare large values for finer steps.

    Bad where inputs drift out of the calibrated range (they are clipped) and for activations with few, important
    outliers.

    Source: Jacob et al. (arXiv 1712.05877); entropy after Migacz, 8-bit inference with TensorRT, GTC 2017; ONNX Runtime
    `quantize_static`.
    """

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
        ready = prepared(need_onnx(source, self.name), folder)
        form = Form(per_channel=False, reduce_range=self.reduce_range, activations=self.activations)
        if self.calibration == "percentile":
            return static(
                ready, calibration, folder, form, percentile_ranges(ready, calibration, folder, self.percentile)
            )
        if self.calibration == "entropy":
            return static(ready, calibration, folder, form, entropy_ranges(ready, calibration, folder))
        return static(ready, calibration, folder, form)
