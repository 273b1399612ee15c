"""One head of keys and values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, final

from weigh.choice import Unfit
from weigh.compress.heads import Calibration, Regrouper
from weigh.compress.heads._cache import kv_heads
from weigh.compress.heads._pooling import need_heads, regrouped
from weigh.compress.heads._settings import Batch, Numbers, Rate, Seed, Steps, Taught
from weigh.model.source import Source


@final
class MultiQuery(Regrouper):
    """Multi-query attention: all heads of keys and values are pooled into one by their mean, then trained on.

    Good for the smallest cache.

    Bad for quality: all queries look at one key of each token. Without training (steps=0) little is left of a model
    that was trained with many.

    Source: Shazeer, Fast transformer decoding: one write-head is all you need (arXiv 1911.02150); pooled as in Ainslie
    et al., GQA (arXiv 2305.13245).
    """

    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"steps": 0})

    steps: Steps = 40
    batch: Batch = 8
    rate: Rate = 2e-4
    seed: Seed = 0
    numbers: Numbers = "bfloat16"
    taught: Taught = False

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        net = need_heads(source)
        if kv_heads(net.config) == 1:
            raise Unfit("the model has one head of keys and values already: as_trained is multi_query")
        return regrouped(self, source, calibration, folder, net, 1, self.taught)
