"""A cache of the first and the latest tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, final

from pydantic import Field

from weigh.serve.decoding import Decoder, Served, Session
from weigh.serve.decoding._greedy import Greedy
from weigh.serve.decoding._runner import ModuleRunner


@final
class Sliding(Decoder):
    """A cache of the first few tokens and the latest ones; what lies between is forgotten.

    Good for answers without end at the memory of a window.

    Bad where what was forgotten matters: answers are not those of plain greedy decoding once the window is full; how
    far they agree is measured. Prompts are read whole.

    Source: Xiao et al., Efficient Streaming Language Models with Attention Sinks (arXiv 2309.17453); positions stay
    those of the text.
    """

    exact: ClassVar[bool] = False

    window: int = Field(64, ge=1, description="latest tokens that are kept")
    first: int = Field(4, ge=0, description="first tokens that are kept: attention rests on them")

    def open(self, served: Served) -> Session:
        return Greedy(WindowRunner(served.module, self.window, self.first))


class WindowRunner(ModuleRunner):
    """A growing cache that is cut after each reading."""

    def __init__(self, module: Any, window: int, first: int) -> None:
        from transformers import DynamicCache

        super().__init__(module, lambda: DynamicCache(config=module.config))
        self._window, self._first = window, first

    def _run(self, tokens: Sequence[int], last: int) -> list[int]:
        import torch

        said = super()._run(tokens, last)
        for layer in self.cache.layers if self.cache is not None else ():
            if layer.keys.shape[2] > self._first + self._window:
                layer.keys, layer.values = (
                    torch.cat([kept[:, :, : self._first], kept[:, :, -self._window :]], 2)
                    for kept in (layer.keys, layer.values)
                )
        return said

    def keep(self, count: int) -> None:
        if count < self.held:
            raise NotImplementedError("a window cannot go back: what it forgot is gone")
