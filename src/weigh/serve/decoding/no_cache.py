"""No cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from weigh.serve.decoding import Decoder, Served, Session, Step, Told


@final
class NoCache(Decoder):
    """No cache: each token is written by reading the whole text again.

    Good as the reference, and where memory matters more than anything else.

    Bad for all but the shortest answers: n tokens read n texts, so that work grows with the square of the length.

    Source: Vaswani et al., Attention Is All You Need (arXiv 1706.03762).
    """

    def open(self, served: Served) -> Session:
        return Rereading(served.module)


class Rereading(Session):
    """Keeps nothing."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def decode(self, prompt: Sequence[int], new_tokens: int, told: Told) -> None:
        import torch

        text = list(prompt)
        for _ in range(new_tokens):
            out = self._module(input_ids=torch.tensor([text]), use_cache=False, logits_to_keep=1)
            text.append(int(out.logits[0, -1].argmax()))
            told(Step(text[-1:]))

    def cache_bytes(self) -> int:
        return 0
