"""Continuous batching."""

from __future__ import annotations

from typing import final

from pydantic import Field

from weigh.choice import Unfit
from weigh.serve.batching import Batcher, Batching, GgufModel, LanguageModel, Limits, Model


@final
class Continuous(Batching):
    """Continuous batching of a language model: texts join and leave the batch between any two tokens.

    A prompt is read in parts, with a token of every other text between two parts, so that a long one stalls nobody for
    longer than a part takes. Keys and values lie in one block, a row a text; a text that ends gives its row to the last
    one. The loop is weigh's own over transformers' model. transformers 5.23 has a paged one (`make bench-batching` runs
    it beside this), about as fast on a CPU, but it takes its memory before the first request, knows no seed of a
    request, no deadline, and no log-probabilities but those of the tokens that it chose.
    A GGUF is run by llama.cpp's server, which batches continuously too (and chooses its parts of prompts by itself).

    Good for language models under load: no place stays empty, nobody waits for the longest answer.

    Bad for memory, which grows with texts and their lengths; for one user alone it is as fast as single.

    Source: Yu et al., Orca, OSDI 2022 (iteration-level scheduling); Agrawal et al., Sarathi-Serve, OSDI 2024 (chunks).
    """

    slots: int = Field(16, ge=1, description="texts that are written at once")
    chunk: int = Field(256, ge=1, description="tokens of prompts that are read between two tokens of the others")

    def start(self, model: Model, limits: Limits) -> Batcher:
        if isinstance(model, GgufModel):
            from weigh.serve.batching._llama_cpp import LlamaWriter

            return LlamaWriter(model, limits, slots=self.slots)
        if not isinstance(model, LanguageModel):
            raise Unfit("continuous batching is for models that write token by token; type window for a model of rows")
        from weigh.serve.batching._writer import Writer

        return Writer(model, limits, slots=self.slots, chunk=self.chunk)

    def at_once(self) -> int:
        return self.slots
