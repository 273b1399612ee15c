"""An attention task, opened: tensors are drawn, outputs checked, calls timed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, final

from weigh.choice import Bench, Block, Blocks, Exhibit, Unfit, Values
from weigh.serve._memory import peak_memory
from weigh.serve._threads import inferring
from weigh.serve.attention import Attention, AttentionTask
from weigh.serve.attention._reference import error_of, reference

if TYPE_CHECKING:
    import torch

    Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Subject:
    """An option that computes attention, with its error and its extra memory (bytes) on the longest sequence."""

    option: Attention
    error: float
    memory: int


@final
class AttentionBench(Bench):
    """Queries, keys and values are standard normal; each block draws its own, and all options are timed on the same.

    Raises:
        Unfit: from `prepare`: the kernel cannot take the tensors or cannot be built.
    """

    def __init__(self, task: AttentionTask, seed: int) -> None:
        self.task, self.seed = task, seed
        self._round: tuple[int, Tensors] | None = None

    @property
    def blocks(self) -> Blocks:
        return Blocks(race=self.task.rounds, fresh=max(self.task.rounds // 2, 1))

    def tensors(self, length: int, seed: int, device: str = "cpu") -> Tensors:
        """Queries, keys and values of that length."""
        import torch

        task, random = self.task, torch.Generator().manual_seed(seed)
        shapes = [(task.batch, heads, length, task.head_dim) for heads in (task.heads, task.kv_heads, task.kv_heads)]
        drawn = [torch.randn(shape, generator=random).to(device, getattr(torch, task.dtype)) for shape in shapes]
        return drawn[0], drawn[1], drawn[2]

    @cached_property
    def _checked(self) -> tuple[Tensors, torch.Tensor]:
        """Tensors that every option is checked on, and what attention makes of them."""
        given = self.tensors(self.task.longest, 0)
        return given, reference(*given, self.task.causal)

    def prepare(self, option: Attention) -> Subject:
        with inferring(self.task.threads):
            given, truth = self._checked
            placed = [one.to(option.device) for one in given]
            output = option.attend(placed[0], placed[1], placed[2], self.task.causal)
            if output.dtype != given[0].dtype:
                raise Unfit(f"{option.spec} gives {output.dtype} for {given[0].dtype}: cast what it returns")
            error = error_of(output, truth, self.task.allowed, option.spec)
            return Subject(option, error, self.memory(option, self.task.longest))

    def memory(self, option: Attention, length: int) -> int:
        """Bytes that a call over so many tokens holds at its peak, beyond inputs and output."""
        q, k, v = self.tensors(length, 0, option.device)
        made = option.attend(q, k, v, self.task.causal)
        held = peak_memory(lambda: option.attend(q, k, v, self.task.causal), option.device)
        return max(held - made.numel() * made.element_size(), 0)

    def trial(self, subject: Subject, block: Block) -> Values:
        if self._round is None or self._round[0] != block.seed:
            self._round = block.seed, self.tensors(self.task.longest, block.seed)
        with inferring(self.task.threads):
            taken = self.times(subject.option, self._round[1])
        return {
            "latency": [statistics.median(taken)],
            "memory": subject.memory / 1e6,
            "error": subject.error,
        }

    def times(self, option: Attention, given: Tensors) -> list[float]:
        """Milliseconds of each call, after one that does not count."""
        q, k, v = (one.to(option.device) for one in given)
        option.attend(q, k, v, self.task.causal)
        taken = []
        for _ in range(self.task.runs):
            _wait(option.device)
            start = time.perf_counter_ns()
            option.attend(q, k, v, self.task.causal)
            _wait(option.device)
            taken.append((time.perf_counter_ns() - start) / 1e6)
        return taken

    def exhibits(self, subjects: Mapping[str, Subject]) -> Sequence[Exhibit]:
        from weigh.serve.attention._exhibits import exhibits

        return exhibits(self, subjects)


def _wait(device: str) -> None:
    """Until the device has done what it was given."""
    if device != "cpu":
        import torch

        torch.cuda.synchronize()
