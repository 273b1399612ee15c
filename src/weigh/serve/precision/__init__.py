"""serve/precision: in which numbers should the model be computed?

Options run the model as it is written, in other numbers; compress/quantize is about what is written. What is measured
is what that costs in quality, and what it gains in speed.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, final

from weigh.choice import Bench, Measure, Needs, Option, Task, UsageError
from weigh.model import measures
from weigh.model.choice import ModelChoice
from weigh.model.task import ModelTask, Wrapper


@final
class PrecisionTask(ModelTask):
    """A model, what judges it, and how it will be served."""


class Precision(Wrapper):
    """An option of serve/precision: runs the model in other numbers."""

    needs: ClassVar[Needs] = Needs(packages=("torch>=2.13",), extra="serve")


def _speeds_and_quality(of: tuple[Measure, ...]) -> tuple[Measure, ...]:
    """Without what a file has and its computing does not change."""
    return tuple(one for one in of if one.name not in (measures.MEMORY.name, measures.SIZE.name))


@final
class Compute(ModelChoice):
    """serve/precision"""

    name: ClassVar[str] = "serve/precision"
    question: ClassVar[str] = "In which numbers should the model be computed?"
    measures: ClassVar[tuple[Measure, ...]] = _speeds_and_quality(measures.ALL)
    cost: ClassVar[str] = "latency"
    baseline: ClassVar[str] = "fp32"
    task: ClassVar[type[Task]] = PrecisionTask
    option: ClassVar[type[Option]] = Precision
    assumptions: ClassVar = {
        "the processor that serves has the same instructions": "weigh again where it serves: bfloat16 is fast only "
        "with AVX512-BF16, AMX or their like, float16 with AVX512-FP16 or on a GPU",
        "values stay in the range that was seen": "monitor/drift on the inputs; float16 overflows beyond 65,504",
        "rows arrive as the validation rows did": "live accuracy against the interval of this decision",
    }

    def suiting(self, task: PrecisionTask) -> tuple[Measure, ...]:
        return _speeds_and_quality(super().suiting(task))

    def open(self, task: PrecisionTask, seed: int) -> Bench:
        from weigh.model.registry import located
        from weigh.model.source import format_of

        if format_of(located(task.model)) == "onnx":
            raise UsageError(
                f"model={task.model} is an ONNX file, whose numbers are fixed: give the torch model from which it was "
                "exported (a Hugging Face folder, .pt2, or .safetensors with architecture=net.py:build), or weigh "
                "compress/quantize, which writes ONNX files in other numbers"
            )
        return super().open(task, seed)

    def toy(self, folder: Path, seed: int = 0) -> PrecisionTask:
        return PrecisionTask(**super().toy(folder, seed).model_dump())

    def loser(self) -> Precision:
        from weigh.serve.precision._planted import Coarse

        return Coarse()

    def twins(self) -> tuple[Precision, Precision]:
        from weigh.serve.precision._planted import Noisy

        return Noisy(seed=1), Noisy(seed=2)
