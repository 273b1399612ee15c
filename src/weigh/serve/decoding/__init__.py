"""serve/decoding: how should a language model write its next tokens?

Options write greedily, one prompt at a time; what is measured is how fast they do, and whether what they write is what
plain greedy decoding writes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeAlias, final

from pydantic import Field

from weigh.choice import Bench, Choice, Measure, Needs, Option, Task

if TYPE_CHECKING:
    import torch

    from weigh.model.source import Source

NEEDS = Needs(packages=("torch>=2.13", "transformers>=5.23", "safetensors>=0.8"), extra="serve")


class DecodingTask(Task):
    """A language model, prompts, and how it will be asked."""

    model: Path = Field(description="the language model: a Hugging Face folder")
    prompts: Path | None = Field(
        None,
        description="a text whose windows are prompts (.txt, .md), or a .jsonl of {'prompt': ...} lines; Python's own "
        "reference manual when not given",
    )
    prompt_tokens: int = Field(64, ge=2, description="tokens of a prompt; longer ones in a .jsonl keep their last ones")
    new_tokens: int = Field(32, ge=2, description="tokens that are written; an end that the model sees stops nothing")
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="in which numbers the model computes; in float32 an option that promises plain greedy decoding "
        "fails where it differs, in bfloat16 the first difference is told",
    )
    threads: int = Field(1, ge=1, description="threads of one request")
    rounds: int = Field(40, ge=1, description="prompts of the race, one a round; half as many more confirm")


class Step(NamedTuple):
    """Tokens that became certain at once; how many of them had been proposed, tested and taken.

    Attributes:
        tokens: what is written, in order.
        tested: proposed tokens that were tested: those taken, and the first that was not.
        taken: proposed tokens that were taken.
    """

    tokens: Sequence[int]
    tested: int = 0
    taken: int = 0


Told: TypeAlias = Callable[[Step], None]


class Session(ABC):
    """A model that is ready to write in one way; it answers one prompt at a time, and starts anew with each."""

    @abstractmethod
    def decode(self, prompt: Sequence[int], new_tokens: int, told: Told) -> None:
        """Write exactly `new_tokens` tokens after `prompt`, telling each step as soon as it is certain."""

    @abstractmethod
    def cache_bytes(self) -> int:
        """Bytes of all tensors that hold keys and values, as the last answer left them."""

    def kept(self) -> Iterable[torch.Tensor]:
        """Tensors that are held between answers, the model's own weights among them or not."""
        return ()


@dataclass(frozen=True, slots=True)
class Served:
    """A model as options get it.

    Attributes:
        source: where it comes from.
        module: the net, in eval mode; it must not be changed.
        room: the most tokens that prompt and answer have together.
        study: token windows, shape (n, length), that no prompt was taken from: what a draft may learn on.
    """

    source: Source
    module: Any
    room: int
    study: Callable[[], Any]


class Decoder(Option):
    """An option of serve/decoding: a way to write greedily."""

    needs: ClassVar[Needs] = NEEDS
    exact: ClassVar[bool] = True
    """Whether it promises the tokens of plain greedy decoding."""

    @abstractmethod
    def open(self, served: Served) -> Session:
        """Make the model ready: compile, make or load a draft. Nothing of this is timed.

        Raises:
            Unfit: it cannot be done for this model, with the reason.
        """


@final
class Decoding(Choice):
    """serve/decoding"""

    name: ClassVar[str] = "serve/decoding"
    question: ClassVar[str] = "How should a language model write its next tokens?"
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure(
            name="tokens_per_second",
            unit="tokens/s",
            better="higher",
            kind="time",
            meaning="tokens written / time of the whole answer, reading the prompt included; one prompt a round, which "
            "all options answer in random order",
            tolerance=0.03,
        ),
        Measure(
            name="ttft",
            unit="ms",
            better="lower",
            kind="time",
            meaning="time to first token: from the prompt's arrival until the first token is certain",
            tolerance=0.05,
        ),
        Measure(
            name="identical",
            unit="share",
            better="higher",
            kind="mean",
            meaning="share of an answer's tokens before the first that differs from plain greedy decoding",
        ),
        Measure(
            name="acceptance",
            unit="share",
            better="higher",
            kind="mean",
            meaning="proposed tokens that were taken / those that were tested (the taken ones and the first refused in "
            "each step); 0 where nothing is proposed",
        ),
        Measure(
            name="kv_bytes",
            unit="bytes/token",
            better="lower",
            kind="exact",
            meaning="bytes of all tensors that hold keys and values after the first answer, a draft's among them / "
            "tokens that were read and written by then",
        ),
        Measure(
            name="memory",
            unit="MB",
            better="lower",
            kind="exact",
            meaning="bytes that the option keeps between answers beside the model's own weights (packed weights, a "
            "draft, a cache of fixed size), and the most that it takes beyond them while a prompt is read and up to 16 "
            "tokens are written / 1,000,000",
        ),
    )
    cost: ClassVar[str] = "memory"
    baseline: ClassVar[str] = "no_cache"
    require: ClassVar[tuple[str, ...]] = ()
    task: ClassVar[type[Task]] = DecodingTask
    option: ClassVar[type[Option]] = Decoder
    assumptions: ClassVar[Mapping[str, str]] = {
        "requests come one at a time": "the batch sizes that serving logs: in batches a cache costs more and a draft "
        "gains less",
        "prompts repeat themselves as these do": "live acceptance against this decision's: lookup and drafts gain as "
        "much as their proposals are taken",
        "answers are about as long as here": "the lengths that serving logs, against the curves in this decision's "
        "report",
        "the processor that serves is like the one that measured": "weigh again where it serves",
    }

    def open(self, task: DecodingTask, seed: int) -> Bench:
        from weigh.serve.decoding._bench import DecodingBench

        return DecodingBench(task, seed)

    def toy(self, folder: Path, seed: int = 0) -> DecodingTask:
        from weigh.serve.decoding._toy import write_toy

        return write_toy(folder, seed)

    def loser(self) -> Decoder:
        from weigh.serve.decoding._planted import Forgetful

        return Forgetful()

    def twins(self) -> tuple[Decoder, Decoder]:
        from weigh.serve.decoding._planted import Guessing

        return Guessing(seed=1), Guessing(seed=2)
