"""What the choices that make another model of a model have in common: the task, the measures, the bench."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from weigh.choice import Bench, Choice, Measure, Task, Values
from weigh.model import measures
from weigh.model.task import ModelTask

if TYPE_CHECKING:
    from weigh.model.artefact import Artefact

ASSUMPTIONS = {
    "the processor that serves has the instructions of the one that measured": "weigh again where it serves: speed, "
    "and how sums of small numbers are rounded, differ between AVX2, AVX-512, AMX and ARM",
    "requests come in batches of the size that was timed, one at a time": "the batch sizes that serving logs",
    "inputs are like those that calibrated and judged": "monitor/drift on the inputs: nothing was measured on what "
    "lies outside their range",
    "rows arrive as the validation rows did": "live accuracy against the interval of this decision",
}


class ModelChoice(Choice):
    """A choice whose options make another model of a task's model, which is judged and timed beside it."""

    measures: ClassVar[tuple[Measure, ...]] = measures.ALL
    extra: ClassVar[tuple[Measure, ...]] = ()
    """Exact measures of this choice alone; `measures` must end with them."""
    cost: ClassVar[str] = "size"
    require: ClassVar[tuple[str, ...]] = ("accuracy >= baseline - 0.01",)
    require_of_text: ClassVar[tuple[str, ...]] = ("drop <= 0.02",)
    task: ClassVar[type[Task]] = ModelTask
    assumptions: ClassVar[Mapping[str, str]] = ASSUMPTIONS

    def suiting(self, task: Any) -> tuple[Measure, ...]:
        return measures.suiting(task, self.extra)

    def required(self, task: Any) -> tuple[str, ...]:
        return self.require_of_text if measures.kind_of(task) == "language" else self.require

    def open(self, task: Any, seed: int) -> Bench:
        from weigh.model.rows_bench import RowsBench
        from weigh.model.text_bench import TextBench

        of = TextBench if measures.kind_of(task) == "language" else RowsBench
        return of(task, seed, self.extras)

    def extras(self, module: Any, made: Artefact) -> Values:
        """The values of `extra` for an artefact; `module` is None where it is an ONNX file."""
        return {}

    def toy(self, folder: Path, seed: int = 0) -> Task:
        from weigh.model.toy import write_language_toy

        return write_language_toy(folder, seed)
