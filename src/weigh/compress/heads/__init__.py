"""compress/heads: how many heads of keys and values should a language model keep for each token?

While a language model writes, it keeps keys and values of every token before. Fewer heads of them make that cache
smaller and reading it faster, which shows with long texts and many of them at once: with the 16 tokens of a short
request (`prompt_tokens`, `new_tokens`) the weights weigh far more, and options tie in speed.

Heads are pooled by their mean, and the model is then trained on for some steps on the calibration windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

from pydantic import Field

from weigh.choice import Bench, Measure, Needs, Option, Task, UsageError, Values
from weigh.model import measures
from weigh.model.choice import ASSUMPTIONS, ModelChoice
from weigh.model.task import Calibration as Calibration
from weigh.model.task import Converter, ModelTask

if TYPE_CHECKING:
    from weigh.model.artefact import Artefact

KV_BYTES = Measure(
    name="kv_bytes",
    unit="bytes a token",
    better="lower",
    kind="exact",
    meaning="keys and values that are kept of each token: 2 x layers x heads of keys and values x width of a head x "
    "bytes of a number",
)


@final
class HeadsTask(ModelTask):
    """A language model, the text that it is trained on after its heads were pooled, and the text that judges it.

    Training on takes `calibration`, or the part of `data` that is set apart for it, and wants far more of it than
    calibrating does: a text of its own, and calibration_rows=2000 or more. What a smaller cache gains in time shows
    with long texts: prompt_tokens=1000.
    """

    calibration_rows: int = Field(
        400, ge=1, description="windows of text to train on; neither they nor equal ones judge"
    )


class Regrouper(Converter):
    """An option of compress/heads: gives the model fewer heads of keys and values."""

    needs: ClassVar[Needs] = Needs(packages=("torch>=2.13", "transformers>=5.23", "safetensors>=0.8"), extra="compress")


@final
class Heads(ModelChoice):
    """compress/heads"""

    name: ClassVar[str] = "compress/heads"
    question: ClassVar[str] = "How many heads of keys and values should the model keep of each token?"
    baseline: ClassVar[str] = "as_trained"
    cost: ClassVar[str] = "kv_bytes"
    task: ClassVar[type[Task]] = HeadsTask
    option: ClassVar[type[Option]] = Regrouper
    extra: ClassVar[tuple[Measure, ...]] = (KV_BYTES,)
    measures: ClassVar[tuple[Measure, ...]] = (*measures.ALL, KV_BYTES)
    assumptions: ClassVar[Mapping[str, str]] = {
        **ASSUMPTIONS,
        "texts are about as long as those that were timed": "the lengths that serving logs: what fewer heads save "
        "grows with the text",
    }

    def open(self, task: HeadsTask, seed: int) -> Bench:
        if measures.kind_of(task) != "language":
            raise UsageError(
                f"model={task.model} writes no text, so that it keeps no keys and values: compress/heads takes "
                "language models; type compress/distill or compress/prune for this one"
            )
        return super().open(task, seed)

    def extras(self, module: Any, made: Artefact) -> Values:
        from weigh.compress.heads._cache import kv_bytes

        return {"kv_bytes": float(kv_bytes(module))}

    def toy(self, folder: Path, seed: int = 0) -> HeadsTask:
        from weigh.model.toy import write_language_toy

        toy = write_language_toy(folder, seed, layers=2, num_key_value_heads=4)
        return HeadsTask.model_validate(toy.model_dump())

    def loser(self) -> Regrouper:
        from weigh.compress.heads._planted import Deaf

        return Deaf()

    def twins(self) -> tuple[Regrouper, Regrouper]:
        from weigh.compress.heads._planted import Uptrained

        return Uptrained(seed=1), Uptrained(seed=2)
