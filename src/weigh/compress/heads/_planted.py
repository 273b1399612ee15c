"""Options whose worth is known: one that must never be chosen, and twins that must tie."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, final

from pydantic import Field

from weigh.compress.heads import Calibration, Regrouper
from weigh.compress.heads._pooling import need_heads, pool
from weigh.compress.heads.grouped import Grouped
from weigh.model.source import Source
from weigh.model.students import blocks_of, save_as_stored


@final
class Deaf(Regrouper):
    """The planted loser: one head of keys and values, and all values are zero, so that no token hears of another.

    Source: planted.
    """

    name: ClassVar[str] = "deaf"

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        small = pool(need_heads(source), 1)
        for block in blocks_of(small):
            block.self_attn.v_proj.weight.zero_()
        return save_as_stored(small, source, folder)


@final
class Uptrained(Regrouper):
    """A planted twin: grouped heads, trained on in an order of its own.

    Source: planted.
    """

    name: ClassVar[str] = "uptrained"

    seed: int = Field(1, description="seed of the order of windows")

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        return Grouped(seed=self.seed).convert(source, calibration, folder)
