"""Weights that contribute least become zero."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, final

from pydantic import Field

from weigh.compress.prune import Calibration, Pruner
from weigh.compress.prune._masks import cut, energy, least_of_rows, table
from weigh.compress.prune._net import opened, written
from weigh.model.source import Source
from weigh.model.walk import walk


@final
class Wanda(Pruner):
    """In each output row, the weights with the least |weight| x norm of their input become zero.

    Inputs are those of the calibration rows; blocks follow one another, so that each is given what the pruned ones
    before it say. Good for language models up to a share of 0.5 without any training: LLaMA-2-7B from perplexity 5.12
    to 6.42, where magnitude gives 14.89 and SparseGPT 6.51 (2306.11695, table 3). Measured here, SmolLM2-135M on
    Python's manual, 32 windows of 64 tokens to calibrate on, 16 CPU-seconds: from 19.1 to 35.2, by magnitude to 434.

    Bad beyond that share, and where calibration rows are unlike those served. The zeros are stored and multiplied as
    before: the file is no smaller and no faster until a sparse format and a sparse kernel take it.

    Source: Sun et al., A simple and effective pruning approach for large language models, arXiv 2306.11695.
    """

    zeros: ClassVar[bool] = True
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({"share": 0.3}, {"share": 0.5})

    share: float = Field(0.5, gt=0, lt=1, description="share of the weights of each row that become zero")

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        net = opened(source, self.name)
        for found in walk(net, calibration, energy):
            for layer, seen in found.items():
                scores = table(layer, layer.weight.abs() * seen.sqrt())
                cut(layer, least_of_rows(scores, self.share))
        return written(net, source, folder)
