"""Attention as it is written down."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from weigh.serve.attention import Attention

if TYPE_CHECKING:
    import torch


@final
class Naive(Attention):
    """Attention as it is written down: the whole matrix of scores, its softmax, and the product with the values.

    Good as the reference, and where the weights themselves are looked at.

    Bad for long sequences: the matrix has heads x length x length entries, several times over, so that memory grows
    with the square of the length, and each entry travels to memory and back.

    Source: Vaswani et al., Attention Is All You Need (arXiv 1706.03762), equation 1.
    """

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> torch.Tensor:
        import torch

        group, length = q.shape[1] // k.shape[1], q.shape[2]
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        if causal:
            later = torch.ones(length, length, dtype=torch.bool, device=q.device).triu(1)
            scores = scores.masked_fill(later, float("-inf"))
        return torch.softmax(scores, -1) @ v
