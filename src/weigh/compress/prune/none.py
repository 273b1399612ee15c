"""Nothing left out."""

from pathlib import Path
from typing import final

from weigh.compress.prune import Calibration, Pruner
from weigh.compress.prune._net import opened, written
from weigh.model.source import Source


@final
class Whole(Pruner):
    """The model as it is.

    Good as the reference that every other option is compared with, and wherever nothing is saved by what they cost.

    Bad where a model is larger than the task needs. Weights with code (architecture=...) are written as a .pt2 archive,
    as all options write them: an archive runs at a speed of its own, which pruning must not be credited with.

    Source: none is needed; what pruning may cost: arXiv 2003.03033.
    """

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        if source.format == "module":
            return written(opened(source, self.name), source, folder)
        return source.path
