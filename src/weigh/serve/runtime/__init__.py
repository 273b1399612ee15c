"""serve/runtime: which software should run the model?

Options run one and the same model. Each is held against eager PyTorch's answers, timed beside it, and started in a
process of its own. Language models are read, not written: a request is a prompt, its answer the scores of the next
token; serve/decoding is about what follows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

from pydantic import Field

from weigh.choice import Bench, Choice, Measure, Option, Task
from weigh.model.task import Calibration as Calibration
from weigh.model.task import Converter, ModelTask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.model.source import Source

TOLERANCES = {"language": 1e-3, "encoder": 1e-4, "classifier": 1e-4}


@final
class RuntimeTask(ModelTask):
    """A model, inputs like those that it will meet, and how it will be served; labels are read by no one."""

    rounds: int = Field(100, ge=1, description="timing rounds of the race; half as many more confirm")
    runs: int = Field(5, ge=1, description="timed runs of each option in a round, of which the median counts")
    warmup: int = Field(1, ge=0, description="runs before the timed ones")
    judged: int = Field(4, ge=1, description="rows a round on which answers are compared with eager's")
    batch_sizes: tuple[int, ...] = Field(
        (1, 4, 16), min_length=1, description="rows of a run in the report's curves; throughput is at the greatest"
    )
    parity_rows: int = Field(16, ge=1, description="rows on which an option must give eager's answers before it races")
    starts: int = Field(1, ge=1, description="fresh processes that are started; the median of their times counts")
    tolerance: float | None = Field(
        None,
        gt=0,
        description="greatest difference from eager with which an option passes; of a language model in nats of any "
        "token's log-probability (1e-3 when not given), of others relative to the greatest answer (1e-4)",
    )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Every number of rows that is run, ascending."""
        return tuple(sorted({self.batch, *self.batch_sizes}))

    def allowed(self, kind: str) -> float:
        """The tolerance that holds for a kind of model."""
        return self.tolerance if self.tolerance is not None else TOLERANCES[kind]


@dataclass(frozen=True, slots=True)
class Setting:
    """How a model will be run.

    Attributes:
        threads: of one run.
        rows: every number of rows that will come at once, ascending.
        tokens: of a row of a text model; 0 for others.
    """

    threads: int
    rows: tuple[int, ...]
    tokens: int = 0


class Served(ABC):
    """A model in a runtime, loaded and warm."""

    @abstractmethod
    def answer(self, feed: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """One run: the answers of all rows of the feed, shape (rows, width).

        Args:
            feed: input name -> values, the first axis being rows; as many as the setting names.

        Returns: scores; vectors of length one; or scores of the next token (logits or log-probabilities).
        """

    def run(self, feed: Mapping[str, NDArray[Any]]) -> None:
        """The same work for a clock, where reading the answer out is no part of it."""
        self.answer(feed)

    def others_mb(self) -> float:
        """Peak memory of processes beside this one, in MB."""
        return 0.0

    def close(self) -> None:
        """End what runs beside this process."""
        return


class Runtime(Converter):
    """An option of serve/runtime: what it makes of the model beforehand (`convert`), and how that is run (`open`)."""

    @abstractmethod
    def open(self, path: Path, source: Source, setting: Setting) -> Served:
        """Load what `convert` wrote, and make everything ready that a first request of a new size would wait for.

        Args:
            path: the artefact; `source.path` itself where `convert` wrote none.
            source: the checked model; its first output is the one that is asked for.

        Raises:
            Unfit: it cannot run here, or not in this setting.
        """


def _exact(name: str, unit: str, meaning: str) -> Measure:
    return Measure(name=name, unit=unit, better="lower", kind="exact", meaning=meaning)


LATENCY = Measure(
    name="latency",
    unit="ms",
    better="lower",
    kind="time",
    meaning="one run of `batch` rows (of a language model: one prompt read, the next token scored): median of the runs "
    "of a round, in which all options take turns in random order on the same rows; warm, nothing compiles in it",
    tolerance=0.05,
)
P95 = Measure(
    name="p95",
    unit="ms",
    better="lower",
    kind="quantile",
    q=0.95,
    meaning="time that 95 % of single runs of `batch` rows stay under on this machine; one a round counts, so that a "
    "limit on it takes 150 rounds or more to certify",
    tolerance=0.05,
    caveat="what disturbs a busy machine for longer than a round makes neighbouring rounds alike",
)
THROUGHPUT = Measure(
    name="throughput",
    unit="rows/s",
    better="higher",
    kind="time",
    meaning="rows (of a language model: tokens of prompts) a second, in one run a round of the most of `batch_sizes`",
    tolerance=0.05,
)
AGREEMENT = Measure(
    name="agreement",
    unit="share",
    better="higher",
    kind="mean",
    meaning="share of rows with eager's answer: the same class or next token; of vectors their cosine with eager's; of "
    "single numbers whether they are within the tolerance",
)
PARITY = _exact(
    "parity",
    "relative",
    "greatest difference from eager's answers on `parity_rows` rows, relative to the greatest of them; of a language "
    "model the greatest difference of any token's log-probability, in nats; an option beyond the tolerance fails",
)
STARTUP = _exact(
    "startup",
    "s",
    "from the start of a fresh process to its first answer, compiling included where the runtime compiles as it "
    "starts (with empty caches), and left out where it was done before; the median of `starts` processes",
)
MEMORY = _exact(
    "memory",
    "MB",
    "peak resident memory of that fresh process, and of those that it started, after a run of `batch` rows",
)
SIZE = _exact("size", "MB", "bytes of the files that the runtime loads / 1,000,000")


@final
class Run(Choice):
    """serve/runtime"""

    name: ClassVar[str] = "serve/runtime"
    question: ClassVar[str] = "Which software should run the model?"
    measures: ClassVar[tuple[Measure, ...]] = (
        LATENCY, P95, THROUGHPUT, AGREEMENT, PARITY, STARTUP, MEMORY, SIZE,
    )  # fmt: skip
    cost: ClassVar[str] = "memory"
    baseline: ClassVar[str] = "eager"
    task: ClassVar[type[Task]] = RuntimeTask
    option: ClassVar[type[Option]] = Runtime
    assumptions: ClassVar[Mapping[str, str]] = {
        "the processor that serves is like the one that measured": "weigh again where it serves: each runtime has its "
        "own kernels for each instruction set, and others for a GPU",
        "requests come in batches of the size that was timed, one at a time": "the batch sizes that serving logs, "
        "against the curves over batch sizes in this decision's report",
        "the runtime's version stays": "its version in the lock file that serves: a new one may choose other kernels "
        "or other roundings; weigh again before it is taken",
        "inputs are about as long as those here": "lengths of prompts and texts that serving logs",
    }

    def suiting(self, task: RuntimeTask) -> tuple[Measure, ...]:
        from weigh.model.measures import kind_of

        if kind_of(task) != "language":
            return self.measures
        units = {"throughput": "tokens/s", "parity": "nats"}
        return tuple(one.model_copy(update={"unit": units.get(one.name, one.unit)}) for one in self.measures)

    def open(self, task: RuntimeTask, seed: int) -> Bench:
        from weigh.serve.runtime._bench import RuntimeBench

        return RuntimeBench(task, seed)

    def toy(self, folder: Path, seed: int = 0) -> RuntimeTask:
        from weigh.serve.runtime._planted import write_toy

        return write_toy(folder, seed)

    def loser(self) -> Runtime:
        from weigh.serve.runtime._planted import Slow

        return Slow()

    def twins(self) -> tuple[Runtime, Runtime]:
        from weigh.serve.runtime._planted import Shuffled

        return Shuffled(seed=1), Shuffled(seed=2)


def convert(task: RuntimeTask, option: Runtime, to: Path | str, overwrite: bool = False) -> Path:
    """Write what a runtime loads: the files that were measured, ready to be carried to where they will serve.

    Args:
        task: the task that was decided on.
        option: `catalog.find(catalog.choice("serve/runtime"), decision.chosen)`.
        to: the folder to write, which appears whole.
        overwrite: replace a folder that weigh wrote before.

    Returns: the file to load: ``model.onnx``, ``model.xml`` (OpenVINO, its weights beside it), ``model.pt2``
        (AOTInductor), ``model.gguf`` or ``model.engine``. Inputs are called and ordered as in the task; the output of
        an exported model is called ``answer``.

    Raises:
        UsageError: the task cannot be used, the runtime runs the model as it is, or the folder exists.
        Unfit: the option can do nothing for the model.
    """
    from weigh.serve.runtime._write import write_files

    return write_files(task, option, Path(to), overwrite)
