"""The smallest weights become zero."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, final

from pydantic import Field

from weigh.compress.prune import Calibration, Pruner
from weigh.compress.prune._graph import magnitude_of_graph
from weigh.compress.prune._masks import cut, least
from weigh.compress.prune._net import opened, written
from weigh.model.layers import need_layers
from weigh.model.source import Source


@final
class Magnitude(Pruner):
    """The weights that are least in absolute value become zero, of each layer or of the whole net.

    Good as a cheap first look at how much of a net is idle: no calibration, seconds, any net (ONNX files too).

    Bad for language models: LLaMA-2-7B at a share of 0.5 goes from perplexity 5.12 to 14.89, where Wanda gives 6.42
    (2306.11695), because a few inputs are far larger than others. The zeros are stored and multiplied as before: the
    file is no smaller and no faster until a sparse format and a sparse kernel take it (net of the digits, half of it
    zeros: the same size, 0.98 [0.95, 1.02] of the time).

    Source: Han et al., Learning both weights and connections for efficient neural networks, arXiv 1506.02626.
    """

    zeros: ClassVar[bool] = True
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({"share": 0.3}, {"share": 0.5})

    share: float = Field(0.5, gt=0, lt=1, description="share of weights that become zero")
    scope: Literal["layer", "net"] = Field(
        "layer", description="where the share holds: in each layer, or over the net, so that layers of small weights "
        "lose more"
    )  # fmt: skip

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        if source.format == "onnx":
            return magnitude_of_graph(source, folder, self.share, self.scope == "layer")
        import torch

        net = opened(source, self.name)
        found = list(need_layers(net).values())
        sizes = [layer.weight.abs() for layer in found]
        if self.scope == "layer":
            masks = [least(size, self.share) for size in sizes]
        else:
            whole = least(torch.cat([size.flatten() for size in sizes]), self.share)
            parts = whole.split([size.numel() for size in sizes])
            masks = [part.reshape(size.shape) for part, size in zip(parts, sizes)]
        for layer, mask in zip(found, masks):
            cut(layer, mask)
        return written(net, source, folder)
