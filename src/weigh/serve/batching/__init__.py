"""serve/batching: how should requests that arrive together share a model?

Options are replayed the same arrivals, each as the server would run it: what is started here (`Batching.start`) is what
serves in production. Requests do not wait for the answers to others (open loop), so that a slow option meets its queue.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, TypeAlias, final

from pydantic import Field

from weigh.choice import Bench, Choice, Measure, Needs, Option, Task
from weigh.model.task import ModelTask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Feed: TypeAlias = Mapping[str, NDArray[np.generic]]

NEEDS = Needs(packages=("torch>=2.13", "transformers>=5.23", "safetensors>=0.8"), extra="serve")


class Full(Exception):
    """As many requests wait as may; `retry_after` is in how many seconds there is likely to be room again."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"the queue is full; try again in {retry_after:.3g} s")
        self.retry_after = retry_after


class Late(Exception):
    """The deadline of a request passed before anything was computed for it, or before it was answered."""


class Closed(Exception):
    """The batcher takes no requests any more."""


class RowsModel(Protocol):
    """A model that answers rows.

    Attributes:
        quick: whether a run is so short (well below a millisecond) that handing it to a thread would cost more: it
            then runs on the event loop.
    """

    quick: bool

    def run(self, feed: Feed) -> Mapping[str, NDArray[Any]]:
        """All outputs, the first axis of each being the rows of the feed. Never called twice at once."""


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A model that writes.

    Attributes:
        module: a causal language model of transformers, in eval mode; it must not be changed.
        ends: token ids at which an answer ends.
        context: the most tokens of prompt and answer together.
        threads: of torch, for one step.
    """

    module: Any
    ends: frozenset[int]
    context: int
    threads: int = 1


@dataclass(frozen=True, slots=True)
class GgufModel:
    """A GGUF, which llama.cpp runs, with batching of its own.

    Attributes:
        path: the file.
        ends: token ids at which an answer ends, as the file has them.
        context: the most tokens of prompt and answer together.
        threads: of llama.cpp.
    """

    path: Path
    ends: frozenset[int]
    context: int
    threads: int = 1


Model: TypeAlias = RowsModel | LanguageModel | GgufModel


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        max_tokens: the most that are written, at least 1.
        temperature: 0 takes the most likely token each time.
        top_p: tokens are drawn from the most likely ones whose chances sum to this.
        seed: of the draws; the same seed draws the same, whoever else is served meanwhile; None: another each time.
        logprobs: how many of the most likely tokens are told with each (0: only its own); None: no logprobs.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    logprobs: int | None = None


class Token(NamedTuple):
    """One token that was written.

    Attributes:
        id: of the vocabulary.
        end: empty while it goes on; "stop" on one of the model's `ends`, "length" on the last of `max_tokens`.
        logprob: its log-probability under the model (before temperature and top_p), where asked for.
        top: the most likely tokens and theirs, where asked for.
        text: what it adds to the answer, of a writer that tells texts instead of ids; its id may be -1 then.
    """

    id: int
    end: Literal["", "stop", "length"] = ""
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()
    text: str | None = None


class Stream(AsyncIterator[Token], ABC):
    """The tokens of one answer."""

    @abstractmethod
    async def aclose(self) -> None:
        """Nobody reads on: what is not written yet will not be."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What protects a model from its users.

    Attributes:
        waiting: requests that may wait; one more raises `Full`.
        tokens: of a language model: texts at once times the tokens of the longest, prompt and answer, stay within
            this, so that keys and values do; one text alone may have as many as the context.
    """

    waiting: int = 256
    tokens: int = 16_384


class Load(NamedTuple):
    """Requests that wait, and requests that are being computed."""

    waiting: int
    running: int


class Batcher(ABC):
    """A model at work. All methods belong to one event loop: that which ran when the batcher was started."""

    async def answer(self, feed: Feed, deadline: float | None = None) -> dict[str, NDArray[Any]]:
        """The outputs for some rows; cancelling the call gives its place up.

        Args:
            feed: input name -> values, rows first; at least one row, as many of each input.
            deadline: on the clock of `time.monotonic`; None: it may take as long as it likes.

        Raises:
            Full, Late, Closed: it was not computed.
            Exception: whatever the model raises for these rows.
        """
        raise TypeError("this batcher serves a language model: call write(prompt, sampling)")

    def write(self, prompt: Sequence[int], sampling: Sampling, deadline: float | None = None) -> Stream:
        """Tokens as they are written; closing the stream (`aclose`) frees the slot.

        The request joins the queue with the call itself, not with the first token that is asked for.

        Args:
            prompt: token ids, at least one; prompt and `max_tokens` must fit into the model's context.
            deadline: as of `answer`; one that passes later ends the answer with `Late`.

        Raises:
            Full, Closed: at once.
            Late: from the stream.
            ValueError: the prompt is empty or too long.
        """
        raise TypeError("this batcher serves a model of rows: call answer(feed)")

    @abstractmethod
    def load(self) -> Load:
        """How busy it is."""

    @abstractmethod
    async def close(self, drain: float = 0.0) -> None:
        """Take nothing more, give what is under way `drain` seconds to be answered, and end; the rest get `Closed`."""


class Batching(Option):
    """An option of serve/batching: a way to share a model among requests that arrive together."""

    needs: ClassVar[Needs] = NEEDS

    @abstractmethod
    def start(self, model: Model, limits: Limits) -> Batcher:
        """Make a model serve; called on the event loop that will use it.

        Raises:
            Unfit: it cannot serve such a model, with the reason.
        """

    @abstractmethod
    def at_once(self) -> int:
        """The most rows (of a language model: sequences) that it computes together, where requests are small."""


@final
class BatchingTask(ModelTask):
    """A model, requests like those that it will meet, how many come, and how soon they must be answered."""

    data: Path = Field(
        description="requests: for a model of rows a table, or an .npz with the inputs; for a language model a text "
        "whose windows are prompts, or a .jsonl of {'prompt': ...} lines"
    )
    rate: float = Field(gt=0, description="requests a second, on average; they come at random (Poisson)")
    slo_ms: float = Field(gt=0, description="a request counts as answered when its whole answer took at most this, ms")
    requests: int = Field(50, ge=2, description="requests of one replay, which is a block")
    rows: int = Field(1, ge=1, description="rows of a request: 1 to this many, drawn anew for each")
    prompt_tokens: int = Field(32, ge=1, description="text: tokens of a prompt")
    new_tokens: int = Field(
        32, ge=1, description="text: tokens of an answer: a quarter of this to all of it, drawn anew for each"
    )
    waiting: int = Field(256, ge=1, description="requests that may wait; one more is refused, and not answered")
    rounds: int = Field(20, ge=1, description="replays of the race; half as many more confirm")


GOODPUT = Measure(
    name="goodput",
    unit="requests/s",
    better="higher",
    kind="time",
    meaning="requests of a replay that were answered within the SLO / seconds in which as many arrive at the task's "
    "rate; the median replay; none at all counts as half a request",
    tolerance=0.03,
)
P99 = Measure(
    name="p99",
    unit="ms",
    better="lower",
    kind="time",
    meaning="99th percentile of a replay's latencies, from the arrival to the whole answer, the queue included; a "
    "request that was refused counts as ten times the SLO; the median replay",
    tolerance=0.05,
)
TTFT = Measure(
    name="ttft",
    unit="ms",
    better="lower",
    kind="time",
    meaning="time to first token: 99th percentile of a replay, from the arrival; the median replay",
    tolerance=0.05,
)
THROUGHPUT = Measure(
    name="throughput",
    unit="rows/s",
    better="higher",
    kind="time",
    meaning="rows (of a language model: tokens) that were answered / time from the first arrival to the last answer",
    tolerance=0.05,
)
MEMORY = Measure(
    name="memory",
    unit="MB",
    better="lower",
    kind="exact",
    meaning="the most memory that torch takes beyond the model's weights while as many requests are computed "
    "together as the option allows (of a language model: their keys and values, at the full length) / 1,000,000; of "
    "ONNX Runtime the inputs and outputs of such a run",
)


@final
class Share(Choice):
    """serve/batching"""

    name: ClassVar[str] = "serve/batching"
    question: ClassVar[str] = "How should requests that arrive together share a model?"
    measures: ClassVar[tuple[Measure, ...]] = (GOODPUT, P99, TTFT, THROUGHPUT, MEMORY)
    cost: ClassVar[str] = "memory"
    baseline: ClassVar[str] = "single"
    task: ClassVar[type[Task]] = BatchingTask
    option: ClassVar[type[Option]] = Batching
    assumptions: ClassVar[Mapping[str, str]] = {
        "requests come at about this rate": "the rate that serving logs, against the curves over rates in this "
        "decision's report",
        "requests come independently of one another": "the variance of arrivals a second against their mean: bursts "
        "need more room than Poisson arrivals",
        "requests are about as large as these": "rows, prompts and answers that serving logs",
        "the processor that serves is like the one that measured": "weigh again where it serves",
    }

    def suiting(self, task: BatchingTask) -> tuple[Measure, ...]:
        from weigh.model.measures import kind_of

        if kind_of(task) == "language":
            told = THROUGHPUT.model_copy(update={"unit": "tokens/s"})
            return (GOODPUT, P99, TTFT, told, MEMORY)
        return (GOODPUT, P99, THROUGHPUT, MEMORY)

    def open(self, task: BatchingTask, seed: int) -> Bench:
        from weigh.serve.batching._bench import BatchingBench

        return BatchingBench(task, seed)

    def toy(self, folder: Path, seed: int = 0) -> BatchingTask:
        from weigh.serve.batching._planted import write_toy

        return write_toy(folder, seed)

    def loser(self) -> Batching:
        from weigh.serve.batching._planted import Dawdling

        return Dawdling()

    def twins(self) -> tuple[Batching, Batching]:
        from weigh.serve.batching._planted import Shuffling

        return Shuffling(seed=1), Shuffling(seed=2)
