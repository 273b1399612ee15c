"""Dynamic batching."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, final

from pydantic import Field

from weigh.choice import Unfit
from weigh.serve.batching import Batcher, Batching, GgufModel, LanguageModel, Limits, Model


@final
class Window(Batching):
    """Dynamic batching: what comes within a short window shares one run, up to a number of rows.

    What waits while the model is busy is joined anyway; `delay_ms` is how long the oldest request waits for company
    while the model is idle, which bounds what batching can add to a latency. With 0 only requests that are there
    already are joined. Requests whose inputs have other shapes or types are not. A language model's batch is static:
    all its texts are written together until the last one has ended, and only then the next batch begins.

    Good for rows: a run of many costs little more than a run of one.

    Bad for a language model whose answers are of unequal length: the short ones' places stay empty, and who comes too
    late waits for the longest.

    Source: Crankshaw et al., Clipper, NSDI 2017 (adaptive batching); Triton's dynamic batcher.
    """

    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"delay_ms": 0.0})

    most: int = Field(32, ge=1, description="rows of a run (of a language model: texts of a batch) that joining fills")
    delay_ms: float = Field(2.0, ge=0, description="ms that the oldest request waits for company")

    def start(self, model: Model, limits: Limits) -> Batcher:
        if isinstance(model, LanguageModel):
            from weigh.serve.batching._writer import Writer

            return Writer(model, limits, slots=self.most, static=True, delay=self.delay_ms / 1e3)
        if isinstance(model, GgufModel):
            raise Unfit("llama.cpp, which runs a GGUF, batches continuously: type continuous, or single")
        from weigh.serve.batching._rows import RowsBatcher

        return RowsBatcher(model, limits, self.most, self.delay_ms / 1e3)

    def at_once(self) -> int:
        return self.most
