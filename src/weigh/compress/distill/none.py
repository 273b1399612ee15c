"""The teacher itself."""

from pathlib import Path
from typing import final

from weigh.compress.distill import Calibration, Distiller
from weigh.model.source import Source


@final
class Unchanged(Distiller):
    """The model as it is: the teacher serves itself.

    Good as the reference that every student is compared with, and wherever quality may not fall.

    Bad where the model is too large or too slow for what it does.

    Source: the model that the task names.
    """

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        return source.path
