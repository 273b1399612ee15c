"""One head of keys and values."""

from __future__ import annotations

from pathlib import Path
from typing import final

from weigh.choice import Unfit
from weigh.compress.heads import Calibration
from weigh.compress.heads._cache import kv_heads
from weigh.compress.heads._pooling import need_heads, regrouped
from weigh.compress.heads._trained import Pooled
from weigh.model.source import Source


@final
class MultiQuery(Pooled):
    """Multi-query attention: all heads of keys and values are pooled into one by their mean, then trained on.

    Good for the smallest cache.

    Bad for quality: all queries look at one key of each token. Without training (steps=0) little is left of a model
    that was trained with many.

    Source: Shazeer, Fast transformer decoding: one write-head is all you need (arXiv 1911.02150); pooled as in Ainslie
    et al., GQA (arXiv 2305.13245).
    """

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        net = need_heads(source)
        if kv_heads(net.config) == 1:
            raise Unfit("the model has one head of keys and values already: as_trained is multi_query")
        return regrouped(self, source, calibration, folder, net, 1)
