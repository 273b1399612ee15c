"""No step."""

from pathlib import Path
from typing import final

from weigh.compress.combine import Calibration, Combiner
from weigh.model.module import load_module, save_module
from weigh.model.source import Source


@final
class NoStep(Combiner):
    """The model as it is.

    Good as the reference that every chain is compared with.

    Bad where a model is larger than the task needs. Weights with code (architecture=...) are written as a .pt2 archive,
    as chains write them: an archive runs at a speed of its own, which no step must be credited with.

    Source: none is needed.
    """

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        if source.format == "module":
            return save_module(load_module(source), source, folder)
        return source.path
