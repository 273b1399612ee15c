"""Options whose worth is known: one that must never be chosen, and twins that must tie."""

from __future__ import annotations

from typing import Any, ClassVar, final

from pydantic import Field

from weigh.serve.precision import Precision


@final
class Coarse(Precision):
    """The planted loser: every matrix in three values, as fast as before. Source: none."""

    name: ClassVar[str] = "coarse"

    def wrap(self, module: Any) -> Any:
        for weight in module.parameters():
            if weight.dim() > 1:
                step = weight.abs().max()
                weight.data = (weight.data / step).round() * step
        return module


@final
class Noisy(Precision):
    """A planted twin: every matrix moved by noise of its own, far below what bfloat16 rounds. Source: none."""

    name: ClassVar[str] = "noisy"

    seed: int = Field(1, description="of the noise")

    def wrap(self, module: Any) -> Any:
        import torch

        random = torch.Generator().manual_seed(self.seed)
        for weight in module.parameters():
            if weight.dim() > 1:
                moved = torch.randn(weight.shape, generator=random) * weight.std() * 1e-4
                weight.data = weight.data + moved.to(weight.dtype)
        return module
