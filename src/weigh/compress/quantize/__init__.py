"""compress/quantize: which numbers should a model's weights be kept in?

Options turn the model into another one (an artefact), which is what is measured: ONNX files by ONNX Runtime, Hugging
Face folders and other torch modules by torch, on the CPU.

A Hugging Face folder comes out as one in the layout of compressed-tensors (of NF4: of bitsandbytes), whose layers
`weigh.model.module.load_module` runs on torch's own CPU kernels for whole numbers. Other nets for torch come out as
.pt2 (float16, bfloat16) or, since torch has such kernels for linear layers alone, as ONNX files. Sizes are those of the
files: a model that is kept in bfloat16 becomes half as large in 8 bits, not a quarter.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, final

from weigh.choice import Needs, Option, Task
from weigh.model.choice import ModelChoice
from weigh.model.task import Calibration as Calibration
from weigh.model.task import Converter, ModelTask


@final
class QuantizeTask(ModelTask):
    """A model, what judges it, and how it will be served."""


class Quantizer(Converter):
    """An option of compress/quantize: writes the model again, with smaller numbers."""

    needs: ClassVar[Needs] = Needs(packages=("onnx>=1.18", "onnxruntime>=1.22"), extra="compress")


@final
class Quantize(ModelChoice):
    """compress/quantize"""

    name: ClassVar[str] = "compress/quantize"
    question: ClassVar[str] = "Which numbers should the model's weights be kept in?"
    baseline: ClassVar[str] = "none"
    task: ClassVar[type[Task]] = QuantizeTask
    option: ClassVar[type[Option]] = Quantizer

    def toy(self, folder: Path, seed: int = 0) -> QuantizeTask:
        from weigh.compress.quantize._toy import write_toy

        return write_toy(folder, seed)

    def loser(self) -> Quantizer:
        from weigh.compress.quantize._planted import Hollow

        return Hollow()

    def twins(self) -> tuple[Quantizer, Quantizer]:
        from weigh.compress.quantize._planted import Jitter

        return Jitter(seed=1), Jitter(seed=2)
