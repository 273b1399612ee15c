"""Choosing tokens: the most likely one, or one drawn; for each text by its own settings and its own dice."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from weigh.serve.batching import Sampling

if TYPE_CHECKING:
    import torch

COLD = 1e-5
"""Below this temperature the most likely token is taken."""


class Chooser:
    """The settings of one text, and its dice: a draw depends on the seed and on how many came before."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self._dice = random.Random(sampling.seed)

    @property
    def greedy(self) -> bool:
        return self.sampling.temperature < COLD or self.sampling.top_p <= 0

    def draw(self, logits: torch.Tensor) -> int:
        """One token by its chance; logits of shape (tokens,).

        Source: Holtzman et al., The Curious Case of Neural Text Degeneration, ICLR 2020 (top-p).
        """
        import torch

        chances, order = torch.softmax(logits.double() / self.sampling.temperature, -1).sort(
            descending=True, stable=True
        )
        sums = chances.cumsum(-1)
        kept = int((sums - chances < self.sampling.top_p).sum())
        share = self._dice.random() * float(sums[kept - 1])
        return int(order[min(int(torch.searchsorted(sums, share, right=True)), kept - 1)])

    def scores(self, logits: torch.Tensor, token: int) -> tuple[float, tuple[tuple[int, float], ...]]:
        """The token's log-probability, and the most likely tokens with theirs."""
        import torch

        logs = torch.log_softmax(logits.float(), -1)
        count = min(self.sampling.logprobs or 0, len(logs))
        best = logs.topk(count)
        return float(logs[token]), tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))


def choose(logits: torch.Tensor, choosers: Sequence[Chooser]) -> list[int]:
    """The next token of each text; logits of shape (texts, tokens)."""
    likeliest: list[int] = logits.argmax(-1).tolist()
    return [
        token if chooser.greedy else chooser.draw(row) for token, chooser, row in zip(likeliest, choosers, logits)
    ]  # fmt: skip
