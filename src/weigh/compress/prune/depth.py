"""Whole blocks are left out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from pydantic import Field

from weigh.choice import Unfit
from weigh.compress.prune import Calibration, Pruner
from weigh.compress.prune._blocks import influence, least_loss, without
from weigh.compress.prune._net import opened, written
from weigh.model.layers import need_blocks
from weigh.model.source import Source

if TYPE_CHECKING:
    from collections.abc import Sequence


@final
class Depth(Pruner):
    """Blocks of a transformer that change its hidden states least, or whose loss costs least, are left out.

    Good for speed and size on any hardware: a share of the blocks less is nearly that share of time less, and the
    config says so, so that every runtime loads it.

    Bad for quality without training afterwards, and most of all for small models, whose blocks repeat each other less;
    of LLaMA-2-13B, 10 of 40 blocks left out take MMLU from 55.0 to 52.2 (2403.03853), and 3 of 30 cost SmolLM2-135M
    0.41 nats a token by cosine (8 CPU-seconds), 0.53 by loss (52 CPU-seconds).

    Source: Men et al., ShortGPT, arXiv 2403.03853 (cosine); Kim et al., Shortened LLaMA, arXiv 2402.02834 (loss).
    """

    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({"share": 0.1}, {"share": 0.2})

    share: float = Field(0.1, gt=0, lt=1, description="share of blocks that are left out; at least one is")
    by: Literal["cosine", "loss"] = Field(
        "cosine", description="which: those whose output is the most like their input, in one pass; or those "
        "without which, each alone, the calibration text is foretold best, in a pass a block"
    )  # fmt: skip
    windows: int = Field(8, ge=1, description="by=loss: calibration windows to look at")

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        net = opened(source, self.name)
        count = len(need_blocks(net, self.name))
        drop = max(1, round(self.share * count))
        if drop >= count:
            raise Unfit(f"a share of {self.share} of {count} blocks leaves none: type a smaller share")
        without(net, self._least(net, source, calibration, drop))
        return written(net, source, folder)

    def _least(self, net: Any, source: Source, calibration: Calibration, drop: int) -> Sequence[int]:
        if self.by == "cosine":
            changes = influence(net, calibration)
            return sorted(range(len(changes)), key=lambda place: changes[place])[:drop]
        if source.kind != "language":
            raise Unfit("by=loss needs a language model, whose text says what is right: type depth:by=cosine")
        return least_loss(net, calibration.tokens[: self.windows], drop)
