"""Some heads of keys and values, each shared by a group of queries."""

from __future__ import annotations

from pathlib import Path
from typing import final

from pydantic import Field

from weigh.choice import Unfit
from weigh.compress.heads import Calibration
from weigh.compress.heads._cache import kv_heads
from weigh.compress.heads._pooling import need_divisor, need_heads, regrouped
from weigh.compress.heads._trained import Pooled
from weigh.model.source import Source


@final
class Grouped(Pooled):
    """Grouped-query attention: neighbouring heads of keys and values are pooled by their mean, then trained on.

    Good for a cache that is smaller by the size of a group, at a loss that some training takes back for the most part.

    Bad without training (steps=0), and for models that have few heads of keys and values already: a prime number of
    them cannot be grouped (multi_query can).

    Source: Ainslie et al., GQA: training generalized multi-query transformer models from multi-head checkpoints
    (arXiv 2305.13245).
    """

    groups: int = Field(0, ge=0, description="heads of keys and values to keep; the most that divide them when 0")

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        net = need_heads(source)
        have = kv_heads(net.config)
        groups = self.groups or max((n for n in range(2, have) if have % n == 0), default=0)
        if not groups:
            raise Unfit(
                f"{have} heads of keys and values cannot be pooled into groups of one size"
                + (": type multi_query, which pools them into one" if have > 1 else ": as_trained keeps the one")
            )
        need_divisor(have, groups)
        return regrouped(self, source, calibration, folder, net, groups)
