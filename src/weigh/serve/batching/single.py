"""One request at a time."""

from __future__ import annotations

from typing import final

from weigh.serve.batching import Batcher, Batching, GgufModel, LanguageModel, Limits, Model


@final
class Single(Batching):
    """One request at a time, in order of arrival; the others wait.

    Good for small models that answer faster than requests come, and for memory: nothing waits for company, and a
    language model keeps keys and values of one text.

    Bad under load: the model reads all its weights for each request anew, and a long answer holds up everybody.

    Source: first come, first served; Erlang, Solution of some problems in the theory of probabilities (1917).
    """

    def start(self, model: Model, limits: Limits) -> Batcher:
        if isinstance(model, LanguageModel):
            from weigh.serve.batching._writer import Writer

            return Writer(model, limits, slots=1)
        if isinstance(model, GgufModel):
            from weigh.serve.batching._llama_cpp import LlamaWriter

            return LlamaWriter(model, limits, slots=1)
        from weigh.serve.batching._rows import RowsBatcher

        return RowsBatcher(model, limits)

    def at_once(self) -> int:
        return 1
