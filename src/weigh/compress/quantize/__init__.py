"""compress/quantize: which numbers should a model's weights be kept in?

Options turn the model into another one (an artefact), which is what is measured: ONNX files by ONNX Runtime, Hugging
Face folders and other torch modules by torch, on the CPU.
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


def convert(task: QuantizeTask, option: Quantizer, to: Path | str, overwrite: bool = False) -> Path:
    """Write the model that an option makes of a task's: the file that was measured, byte by byte.

    It comes out of the cache, or is made again where the cache was emptied: an option makes the same bytes of the same
    model and rows under the same versions of weigh, onnx and ONNX Runtime. A decision's report has the SHA-256 of each.

    Args:
        task: the task that was decided on; its seed does not matter.
        option: `catalog.find(catalog.choice("compress/quantize"), decision.chosen)`.
        to: the .onnx file to write, whole or not at all; its folder is made. What else the artefact consists of goes
            beside it under the names by which the model knows it.
        overwrite: replace another file of that name. One with the same content is left alone in any case.

    Returns: the path, ready for `onnxruntime.InferenceSession`.

    Raises:
        UsageError: the task cannot be used; or the file exists with other content, or is the task's own model or data.
        Unfit: the option can do nothing for the model.
        OSError: the file cannot be written.
    """
    from weigh.compress.quantize._write import write_model

    return write_model(task, option, Path(to), overwrite)
