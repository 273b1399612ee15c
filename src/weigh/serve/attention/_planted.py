"""Options whose worth is known: one that must never be chosen, and twins that must tie."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, final

from pydantic import Field

from weigh.serve.attention import Attention
from weigh.serve.attention.naive import Naive

if TYPE_CHECKING:
    import torch

NEAR = 16


@final
class Nearby(Attention):
    """The planted loser: looks at the first 16 keys alone; the fastest and the smallest, and wrong. Source: none."""

    name: ClassVar[str] = "nearby"

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> torch.Tensor:
        import torch

        group = q.shape[1] // k.shape[1]
        k, v = (one[:, :, :NEAR].repeat_interleave(group, 1) for one in (k, v))
        return torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, -1) @ v


@final
class Shuffled(Attention):
    """A planted twin: plain maths on batches in an order of its own, which changes nothing. Source: none."""

    name: ClassVar[str] = "shuffled"

    seed: int = Field(1, description="of the order")

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> torch.Tensor:
        import torch

        order = torch.randperm(len(q), generator=torch.Generator().manual_seed(self.seed)).to(q.device)
        back = torch.argsort(order)
        return Naive().attend(q[order], k[order], v[order], causal)[back]
