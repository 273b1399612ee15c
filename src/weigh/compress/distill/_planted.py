"""Options whose worth is known: one that must never be chosen, and twins that must tie."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, final

from pydantic import Field

from weigh.compress.distill import Calibration, Distiller
from weigh.compress.distill._facts import write_facts
from weigh.compress.distill.logits import Logits
from weigh.model.module import load_module
from weigh.model.source import Source
from weigh.model.students import save_as_stored, shallower


@final
class Untaught(Distiller):
    """The planted loser: one layer of the teacher and no training; the smallest, the fastest, and of no use.

    Source: planted.
    """

    name: ClassVar[str] = "untaught"

    layers: int = Field(1, ge=1, description="layers that are kept")

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        write_facts(folder, {"rows": 0, "tokens": 0}, [], [0])
        return save_as_stored(shallower(load_module(source), range(self.layers)), source, folder)


@final
class Pupil(Distiller):
    """A planted twin: a student of all layers but one, taught by scores in an order of its own.

    Source: planted.
    """

    name: ClassVar[str] = "pupil"

    seed: int = Field(1, description="seed of the order of rows")

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        return Logits(seed=self.seed, share=0.67, steps=20).convert(source, calibration, folder)
