"""The heads that the model has."""

from pathlib import Path
from typing import final

from weigh.compress.heads import Calibration, Regrouper
from weigh.model.source import Source


@final
class AsTrained(Regrouper):
    """The model as it was trained, with all its heads of keys and values.

    Good as the reference that every other option is compared with, and where texts are short or few.

    Bad where many long texts are written at once, whose keys and values outgrow the weights.

    Source: Vaswani et al., Attention is all you need (arXiv 1706.03762).
    """

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        return source.path
