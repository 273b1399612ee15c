"""compress/distill: should a smaller student of the model serve in its place, and how is it taught?

A student is the model with fewer layers (and, if wanted, narrower feed-forward parts), trained for some steps on the
calibration rows: `plain` on the text alone, the others on what the model, its teacher, says of it. Distilling wants
much text: with calibration_rows=2000, or a text of its own (calibration=text.txt, calibration_rows=2000), a student
learns far more than on the 200 windows that calibrating takes. A few hundred steps on a CPU do not make a student of a
language model that was trained on billions of tokens; a drop of 0.02 nats a token is out of reach for them, and `none`
is then the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, final

from weigh.choice import Measure, Needs, Option, Values
from weigh.model import measures
from weigh.model.choice import ASSUMPTIONS, ModelChoice
from weigh.model.task import Calibration as Calibration
from weigh.model.task import Converter

if TYPE_CHECKING:
    from collections.abc import Mapping

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


class Distiller(Converter):
    """An option of compress/distill: makes a smaller student of the model, and teaches it."""

    needs: ClassVar[Needs] = Needs(packages=("torch>=2.13", "transformers>=5.23", "safetensors>=0.8"), extra="compress")


@final
class Distill(ModelChoice):
    """compress/distill"""

    name: ClassVar[str] = "compress/distill"
    question: ClassVar[str] = "Should a smaller student serve in the model's place, and how is it taught?"
    baseline: ClassVar[str] = "none"
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

    def loser(self) -> Distiller:
        from weigh.compress.distill._planted import Untaught

        return Untaught()

    def twins(self) -> tuple[Distiller, Distiller]:
        from weigh.compress.distill._planted import Pupil

        return Pupil(seed=1), Pupil(seed=2)
