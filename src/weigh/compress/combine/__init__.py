"""compress/combine: do several ways of making a model smaller add up, or do they get in each other's way?

An option is a chain of options of compress/prune, heads, distill and quantize. Each step works on what the step before
it wrote to disk, opened again, and what comes out is measured like any other model. A report sets what a chain does
beside the sum of what its steps do alone, so that an interaction is measured and not assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, final

from weigh.choice import Bench, Needs, Option
from weigh.model.choice import ASSUMPTIONS, ModelChoice
from weigh.model.task import Calibration as Calibration
from weigh.model.task import Converter


class Combiner(Converter):
    """An option of compress/combine: makes one model of another in several steps."""

    needs: ClassVar[Needs] = Needs(packages=("torch>=2.13", "transformers>=5.23", "safetensors>=0.8"), extra="compress")


@final
class Combine(ModelChoice):
    """compress/combine"""

    name: ClassVar[str] = "compress/combine"
    question: ClassVar[str] = "Which ways of making the model smaller should be combined?"
    baseline: ClassVar[str] = "none"
    option: ClassVar[type[Option]] = Combiner
    assumptions: ClassVar[Mapping[str, str]] = {
        **ASSUMPTIONS,
        "steps are taken in the order of the chain": "weigh again when a step is added, left out or moved: effects of "
        "steps on quality do not add up (see the interactions in the report)",
    }

    def open(self, task: Any, seed: int) -> Bench:
        from weigh.compress.combine._bench import CombineBench

        return CombineBench(super().open(task, seed))

    def loser(self) -> Combiner:
        from weigh.compress.combine._planted import Muted

        return Muted()

    def twins(self) -> tuple[Combiner, Combiner]:
        from weigh.compress.combine._planted import Jitter

        return Jitter(seed=1), Jitter(seed=2)
