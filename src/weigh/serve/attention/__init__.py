"""serve/attention: with which kernel should attention be computed?

Options compute softmax(q k' / sqrt(d)) v; what is measured is one call over a whole sequence, as a prompt is read.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self, final

from pydantic import Field, model_validator

from weigh.choice import Bench, Choice, Measure, Needs, Option, Task

if TYPE_CHECKING:
    import torch

TOLERANCES = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 2e-2}


class AttentionTask(Task):
    """The shapes that a model gives its attention: heads, their width, and how long sequences are."""

    heads: int = Field(9, ge=1, description="query heads")
    kv_heads: int = Field(3, ge=1, description="heads of keys and values; fewer than heads: grouped-query")
    head_dim: int = Field(64, ge=1, description="width of a head")
    lengths: tuple[int, ...] = Field(
        (256, 512, 1024, 2048), min_length=1, description="sequence lengths in tokens; the longest one decides"
    )
    batch: int = Field(1, ge=1, description="sequences in one call")
    causal: bool = Field(True, description="a token sees those before it and itself; else it sees all")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="of queries, keys and values")
    tolerance: float | None = Field(
        None,
        gt=0,
        description="greatest difference from attention in float64 with which an option passes; 1e-5 in float32, 2e-3 "
        "in float16 and 2e-2 in bfloat16 when not given",
    )
    threads: int = Field(1, ge=1, description="threads of one call")
    rounds: int = Field(60, ge=1, description="timing rounds of the race; half as many more confirm")
    runs: int = Field(3, ge=1, description="timed calls of each option in a round, of which the median counts")

    @model_validator(mode="after")
    def _grouped(self) -> Self:
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads cannot share {self.kv_heads} heads of keys: take a divisor of heads")
        if min(self.lengths) < 1:
            raise ValueError(f"a sequence has at least one token, not {min(self.lengths)}")
        return self

    @property
    def longest(self) -> int:
        """The sequence length that decides."""
        return max(self.lengths)

    @property
    def allowed(self) -> float:
        """The tolerance that holds."""
        return self.tolerance if self.tolerance is not None else TOLERANCES[self.dtype]


class Attention(Option):
    """An option of serve/attention: a kernel."""

    needs: ClassVar[Needs] = Needs(packages=("torch>=2.8",), extra="serve")
    device: ClassVar[str] = "cpu"
    """Where its tensors must lie."""

    @abstractmethod
    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> torch.Tensor:
        """Attention over whole sequences, scaled by 1 / sqrt(head_dim).

        Args:
            q: queries, shape (batch, heads, length, head_dim).
            k: keys, shape (batch, kv_heads, length, head_dim); heads i of q share head i * kv_heads // heads.
            v: values, shaped as keys.
            causal: whether a token sees only those before it and itself.

        Returns: shape of `q`, on its device and of its dtype.

        Raises:
            Unfit: the kernel cannot take such tensors, or cannot be built here, with the reason.
        """


@final
class Attend(Choice):
    """serve/attention"""

    name: ClassVar[str] = "serve/attention"
    question: ClassVar[str] = "With which kernel should attention be computed?"
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure(
            name="latency",
            unit="ms",
            better="lower",
            kind="time",
            meaning="one call over the longest sequence: median of the calls of a round, in which all options take "
            "turns in random order on the same tensors",
            tolerance=0.05,
        ),
        Measure(
            name="memory",
            unit="MB",
            better="lower",
            kind="exact",
            meaning="most bytes that one call over the longest sequence holds at once beyond its inputs and its "
            "output, as torch's allocator hands them out / 1,000,000",
        ),
        Measure(
            name="error",
            unit="absolute",
            better="lower",
            kind="exact",
            meaning="greatest difference from attention computed in float64 on the longest sequence of standard normal "
            "values; an option beyond the tolerance fails",
        ),
    )
    cost: ClassVar[str] = "memory"
    baseline: ClassVar[str] = "naive"
    task: ClassVar[type[Task]] = AttentionTask
    option: ClassVar[type[Option]] = Attention
    assumptions: ClassVar[Mapping[str, str]] = {
        "the processor that serves is like the one that measured": "weigh again where it serves: kernels differ "
        "between processors, and a GPU has others",
        "sequences are about as long as the longest one here": "the lengths that serving logs, against the curves "
        "over lengths in this decision's report",
        "prompts are read whole: a step of generation has one query, and other costs": "serve/decoding, which times "
        "generation itself",
    }

    def open(self, task: AttentionTask, seed: int) -> Bench:
        from weigh.serve.attention._bench import AttentionBench

        return AttentionBench(task, seed)

    def toy(self, folder: Path, seed: int = 0) -> AttentionTask:
        return AttentionTask(heads=4, kv_heads=2, head_dim=16, lengths=(64, 256), rounds=40, runs=1)

    def loser(self) -> Attention:
        from weigh.serve.attention._planted import Nearby

        return Nearby()

    def twins(self) -> tuple[Attention, Attention]:
        from weigh.serve.attention._planted import Shuffled

        return Shuffled(seed=1), Shuffled(seed=2)
