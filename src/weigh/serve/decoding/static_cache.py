"""A cache of fixed size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, final

from pydantic import Field

from weigh.serve.decoding import Decoder, Served, Session
from weigh.serve.decoding._greedy import Greedy
from weigh.serve.decoding._llama import CompiledRunner, packed
from weigh.serve.decoding._runner import ModuleRunner, Runner


@final
class Static(Decoder):
    """A cache of fixed size that is written in place; compiled=true also compiles the step.

    Good with a compiler: shapes never change, so that a layer becomes a few kernels, over weights in the narrowest
    numbers that hold them exactly. It is what makes one request at a time fast on a CPU.

    Bad without one (attention goes over the whole room, filled or not), and for memory: the room for the longest answer
    is taken at once, and with compiled=true the narrow weights are held beside the model's own, which reads prompts.

    Source: `transformers.StaticCache`; Ansel et al., PyTorch 2, ASPLOS 2024 (`torch.compile`).
    """

    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"compiled": True})

    compiled: bool = Field(False, description="compile the step; for Llama models, and takes a C++ compiler")

    def open(self, served: Served) -> Session:
        if self.compiled:
            return Greedy(CompiledRunner(served.module, packed(served.module), served.room, (1,)))
        return Greedy(static_runner(served))


def static_runner(served: Served) -> Runner:
    """The model over transformers' own static cache."""
    from transformers import StaticCache

    return ModuleRunner(served.module, lambda: StaticCache(config=served.module.config, max_cache_len=served.room))
