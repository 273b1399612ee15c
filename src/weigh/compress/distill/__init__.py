"""compress/distill: should a smaller student of the model serve in its place, and how is it taught?

A student is the model with fewer layers (and, if wanted, narrower feed-forward parts), trained for some steps on the
calibration rows: `plain` on the text alone, the others on what the model, its teacher, says of it. A few hundred steps
on a CPU make no equal of a language model that was trained on billions of tokens: a drop of 0.02 nats a token is out of
their reach, and `none` is then the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

from pydantic import Field

from weigh.choice import Measure, Needs, Option, Task, Values
from weigh.model import measures
from weigh.model.choice import ASSUMPTIONS, ModelChoice
from weigh.model.task import Calibration as Calibration
from weigh.model.task import Converter, ModelTask

if TYPE_CHECKING:
    from weigh.model.artefact import Artefact

PARAMETERS = Measure(
    name="parameters",
    unit="million",
    better="lower",
    kind="exact",
    meaning="numbers in the model that were trained, shared ones once",
)
TEACHER_CALLS = Measure(
    name="teacher_calls",
    unit="rows",
    better="lower",
    kind="exact",
    meaning="rows (windows of text, sentences, pictures) that the teacher answered while the student was trained, "
    "counted; the model itself and a student without a teacher took none",
)


@final
class DistillTask(ModelTask):
    """A model to be the teacher, the text or rows that students learn from, and what judges them.

    Students learn from `calibration`, or from the part of `data` that is set apart for it. Distilling wants far more of
    it than calibrating does: a text of its own, and calibration_rows=2000 or more. Losses of students of a few hundred
    steps lie beyond `clip`; to tell such students apart by `drop`, type clip=5.
    """

    calibration_rows: int = Field(
        400, ge=1, description="rows (of text: windows) that students learn from; neither they nor equal ones judge"
    )


class Distiller(Converter):
    """An option of compress/distill: makes a smaller student of the model, and teaches it."""

    needs: ClassVar[Needs] = Needs(packages=("torch>=2.13", "transformers>=5.23", "safetensors>=0.8"), extra="compress")


@final
class Distill(ModelChoice):
    """compress/distill"""

    name: ClassVar[str] = "compress/distill"
    question: ClassVar[str] = "Should a smaller student serve in the model's place, and how is it taught?"
    baseline: ClassVar[str] = "none"
    task: ClassVar[type[Task]] = DistillTask
    option: ClassVar[type[Option]] = Distiller
    extra: ClassVar[tuple[Measure, ...]] = (PARAMETERS, TEACHER_CALLS)
    measures: ClassVar[tuple[Measure, ...]] = (*measures.ALL, PARAMETERS, TEACHER_CALLS)
    assumptions: ClassVar[Mapping[str, str]] = {
        **ASSUMPTIONS,
        "requests are like the text that the student was trained on": "monitor/drift on the requests: a student has "
        "forgotten more of what it was not shown than its teacher",
    }

    def extras(self, module: Any, made: Artefact) -> Values:
        from weigh.compress.distill._facts import counted

        return counted(module, made)

    def toy(self, folder: Path, seed: int = 0) -> DistillTask:
        from weigh.model.toy import write_language_toy

        return DistillTask.model_validate(write_language_toy(folder, seed).model_dump())

    def loser(self) -> Distiller:
        from weigh.compress.distill._planted import Untaught

        return Untaught()

    def twins(self) -> tuple[Distiller, Distiller]:
        from weigh.compress.distill._planted import Pupil

        return Pupil(seed=1), Pupil(seed=2)
