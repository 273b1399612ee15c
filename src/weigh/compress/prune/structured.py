"""Whole channels, neurons and heads are left out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, final

from pydantic import Field

from weigh.choice import Needs
from weigh.compress.prune import Calibration, Pruner
from weigh.compress.prune._channels import need_channels, thin
from weigh.compress.prune._net import opened, written
from weigh.compress.prune._width import Widths, narrow
from weigh.model.source import Source


@final
class Structured(Pruner):
    """Channels of convolutions, neurons of MLPs and groups of heads are cut off, with all that depends on them.

    Good for size and speed on any hardware: what is left is a smaller dense net. In convolutional nets the dependency
    graph of torch-pruning finds what must be cut together; in transformers the MLP of every block gets the same new
    width, and heads go with the keys and values that they share, so that the config still describes the model.

    Bad for quality without training afterwards (compress/combine: prune, then distill): a quarter of the neurons costs
    SmolLM2-135M 0.37 nats a token and saves 15 % of its file. Convolutional nets are cut by the size of weights alone;
    that of the digits, a quarter of its channels cut, is 27 % smaller, takes 0.88 [0.86, 0.90] of the time and is
    right on 98.2 % where it was on 98.5 %.

    Source: Fang et al., DepGraph, arXiv 2301.12900 (torch-pruning); score of neurons: An et al., FLAP, arXiv 2312.11983
    and Sun et al., arXiv 2306.11695.
    """

    needs: ClassVar[Needs] = Needs(
        packages=("torch>=2.13", "transformers>=5.23", "safetensors>=0.8", "torch-pruning>=1.6"), extra="compress"
    )
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({"share": 0.25}, {"share": 0.5})

    share: float = Field(0.25, ge=0, lt=1, description="share of channels, and of the neurons of an MLP, that are cut")
    heads: float = Field(
        0.0, ge=0, lt=1, description="transformers: share of the groups of heads (a key-value head with its query "
        "heads) that are cut; at least one is where this is above 0"
    )  # fmt: skip
    score: Literal["activation", "magnitude"] = Field(
        "activation", description="transformers: what is cut: what gives least to the block's output on the "
        "calibration rows, or what has the smallest weights"
    )  # fmt: skip
    multiple: int = Field(
        8, ge=1, description="widths are kept at multiples of this where that is possible: kernels like such"
    )

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        net = opened(source, self.name)
        if source.format == "huggingface":
            narrow(net, calibration, Widths(self.share, self.heads, self.score == "activation", self.multiple))
        else:
            need_channels(self.share, self.heads)
            thin(net, source, self.share, self.multiple)
        return written(net, source, folder)
