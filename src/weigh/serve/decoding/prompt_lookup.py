"""Guesses out of the text itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self, final

from pydantic import Field, model_validator

from weigh.serve.decoding import Decoder, Served, Session
from weigh.serve.decoding._greedy import Lookup, Speculative
from weigh.serve.decoding._llama import CompiledRunner, packed
from weigh.serve.decoding._runner import ModuleRunner


@final
class PromptLookup(Decoder):
    """Guesses that the text goes on as it did when its latest tokens stood there before; the model tests the guesses.

    Good where answers repeat the prompt or themselves: summaries, code, corrections, and small models that run in
    circles. Guessing costs nothing, and the tokens are those of plain greedy decoding.

    Bad for texts that say everything once: testing several tokens takes longer than writing one.

    Source: Saxena, Prompt Lookup Decoding (github.com/apoorvumang/prompt-lookup-decoding), 2023; Leviathan et al.
    (arXiv 2211.17192).
    """

    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"compiled": True})

    ahead: int = Field(3, ge=1, description="the most tokens that are guessed at once")
    longest: int = Field(3, ge=1, description="so many of the latest tokens are looked for, then fewer")
    shortest: int = Field(2, ge=1, description="and not fewer than so many")
    compiled: bool = Field(False, description="as of static_cache: compile the step, for one token and for `ahead` + 1")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.shortest > self.longest:
            raise ValueError(
                f"shortest={self.shortest} is more than longest={self.longest}: type longest={self.shortest}"
            )
        return self

    def open(self, served: Served) -> Session:
        from transformers import DynamicCache

        lookup = Lookup(self.longest, self.shortest)
        if self.compiled:
            runner = CompiledRunner(served.module, packed(served.module), served.room, (1, self.ahead + 1))
            return Speculative(runner, lookup, self.ahead)
        config = served.module.config
        return Speculative(ModuleRunner(served.module, lambda: DynamicCache(config=config)), lookup, self.ahead)
