"""The toy task, and options whose worth is known: one that must never be chosen, and twins that must tie."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, final

from pydantic import Field

from weigh.serve.batching import (
    Batcher,
    Batching,
    BatchingTask,
    Limits,
    Load,
    Model,
    Sampling,
    Stream,
    Token,
)
from weigh.serve.batching.single import Single
from weigh.serve.batching.window import Window

WAIT_MS, SLO_MS, JITTER = 120.0, 60.0, 0.001


def write_toy(folder: Path, seed: int = 0) -> BatchingTask:
    """A Llama of one layer and random weights, and words for it to go on with; one option is as fast as the others."""
    from weigh.model.toy import write_language_toy

    made = write_language_toy(folder, seed, layers=1)
    return BatchingTask(
        model=made.model, data=made.data, rate=400.0, slo_ms=SLO_MS, requests=8, prompt_tokens=4, new_tokens=4,
        rounds=50,
    )  # fmt: skip


@final
class Dawdling(Batching):
    """The planted loser: waits for company longer than anybody wants to wait for an answer. Source: none."""

    name: ClassVar[str] = "dawdling"

    def start(self, model: Model, limits: Limits) -> Batcher:
        return Window(most=4096, delay_ms=WAIT_MS).start(model, limits)

    def at_once(self) -> int:
        return 4096


@final
class Shuffling(Batching):
    """A planted twin: single, each request up to a millisecond later than it came, by dice. Source: none."""

    name: ClassVar[str] = "shuffling"

    seed: int = Field(1, description="of the dice")

    def start(self, model: Model, limits: Limits) -> Batcher:
        return _Later(Single().start(model, limits), random.Random(self.seed))

    def at_once(self) -> int:
        return 1


class _Later(Batcher):
    def __init__(self, inner: Batcher, dice: random.Random) -> None:
        self._inner, self._dice = inner, dice

    def write(self, prompt: Sequence[int], sampling: Sampling, deadline: float | None = None) -> Stream:
        return _LaterStream(self._dice.random() * JITTER, lambda: self._inner.write(prompt, sampling, deadline))

    def load(self) -> Load:
        return self._inner.load()

    async def close(self, drain: float = 0.0) -> None:
        await self._inner.close(drain)


class _LaterStream(Stream):
    def __init__(self, wait: float, start: Callable[[], Stream]) -> None:
        self._wait, self._start = wait, start
        self._stream: Stream | None = None

    async def __anext__(self) -> Token:
        if self._stream is None:
            await asyncio.sleep(self._wait)
            self._stream = self._start()
        return await anext(self._stream)

    async def aclose(self) -> None:
        if self._stream is not None:
            await self._stream.aclose()
