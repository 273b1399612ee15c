"""Options whose worth is known: one that must never be chosen, and twins that must tie."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, final

from pydantic import Field

from weigh.compress.prune import Calibration, Pruner
from weigh.compress.prune._blocks import without
from weigh.compress.prune._masks import cut, least
from weigh.compress.prune._net import opened, written
from weigh.model.layers import layers, need_blocks
from weigh.model.source import Source


@final
class Emptied(Pruner):
    """The planted loser: one block is left, with zeros in it; the smallest and the fastest, and good for nothing."""

    name: ClassVar[str] = "emptied"

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        net = opened(source, self.name)
        without(net, range(1, len(need_blocks(net, self.name))))
        for layer in layers(net).values():
            layer.weight.zero_()
        return written(net, source, folder)


@final
class Chance(Pruner):
    """A planted twin: of the least weights of each layer one half becomes zero, drawn by chance. Source: none."""

    name: ClassVar[str] = "chance"

    seed: int = Field(1, description="of the draw")
    share: float = Field(0.04, gt=0, lt=1, description="share of weights of which one half becomes zero")

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        import torch

        net, draw = opened(source, self.name), torch.Generator().manual_seed(self.seed)
        for layer in layers(net).values():
            drawn = torch.rand(layer.weight.shape, generator=draw) < 0.5
            cut(layer, least(layer.weight.abs(), self.share) & drawn)
        return written(net, source, folder)
