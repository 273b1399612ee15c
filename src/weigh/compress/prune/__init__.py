"""compress/prune: which of a model's weights, channels or blocks can be left out?

Options write the model again with less in it. Zeros that stay where they were make a file no smaller and dense kernels
no faster, so that magnitude, wanda, sparsegpt and n_m gain nothing by themselves on a CPU: their size is the
original's and their time a tie with it, which is what is measured. They show what quality costs at a sparsity, for
hardware or runtimes with sparse kernels. `structured` and `depth` leave whole channels and blocks out, which does make
a model smaller and faster.
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

SPARSITY = Measure(
    name="sparsity",
    unit="share",
    better="higher",
    kind="exact",
    meaning="share of weights that are zero, in linear and convolution layers without a language model's output layer; "
    "what was cut off does not count",
)
PARAMETERS = Measure(
    name="parameters",
    unit="million",
    better="lower",
    kind="exact",
    meaning="numbers in the model that were trained, zeros among them, shared ones once",
)


class Pruner(Converter):
    """An option of compress/prune: writes the model again with less in it."""

    needs: ClassVar[Needs] = Needs(packages=("torch>=2.13", "transformers>=5.23", "safetensors>=0.8"), extra="compress")
    zeros: ClassVar[bool] = False
    """Whether it leaves zeros in their places, which training would fill again."""


@final
class Prune(ModelChoice):
    """compress/prune"""

    name: ClassVar[str] = "compress/prune"
    question: ClassVar[str] = "Which of the model's weights, channels or blocks can be left out?"
    baseline: ClassVar[str] = "none"
    option: ClassVar[type[Option]] = Pruner
    extra: ClassVar[tuple[Measure, ...]] = (SPARSITY, PARAMETERS)
    measures: ClassVar[tuple[Measure, ...]] = (*measures.ALL, SPARSITY, PARAMETERS)
    assumptions: ClassVar[Mapping[str, str]] = {
        **ASSUMPTIONS,
        "the kernels that serve take no advantage of zeros, as those that measured": "weigh again on hardware or a "
        "runtime with sparse kernels (2:4 on NVIDIA GPUs since Ampere)",
    }

    def extras(self, module: Any, made: Artefact) -> Values:
        from weigh.compress.prune._count import counted

        return counted(module, made)

    def loser(self) -> Pruner:
        from weigh.compress.prune._planted import Emptied

        return Emptied()

    def twins(self) -> tuple[Pruner, Pruner]:
        from weigh.compress.prune._planted import Chance

        return Chance(seed=1), Chance(seed=2)
