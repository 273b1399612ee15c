"""Options whose worth is known: one that must never be chosen, and twins that must tie."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, final

from pydantic import Field

from weigh.compress.combine import Calibration, Combiner
from weigh.model.module import load_module, save_module
from weigh.model.source import Source
from weigh.model.students import shallower


@final
class Muted(Combiner):
    """The planted loser: the first block alone, its weights zero; the smallest and the fastest, and good for nothing.

    Source: none.
    """

    name: ClassVar[str] = "muted"

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        net = shallower(load_module(source), [0])
        for weight in net.parameters():
            if weight.dim() > 1:
                weight.zero_()
        return save_module(net, source, folder)


@final
class Jitter(Combiner):
    """A planted twin: every weight moved by a little noise of its own. Source: none."""

    name: ClassVar[str] = "jitter"

    seed: int = Field(1, description="of the noise")
    noise: float = Field(0.01, ge=0, description="standard deviation of the noise, as a share of the weights'")

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        import torch

        net, draw = load_module(source), torch.Generator().manual_seed(self.seed)
        for weight in net.parameters():
            if weight.dim() > 1:
                weight += torch.randn(weight.shape, generator=draw) * self.noise * weight.std()
        return save_module(net, source, folder)
