"""The model as it is."""

from pathlib import Path
from typing import final

from weigh.compress.quantize import Calibration, Quantizer
from weigh.model.source import Source


@final
class Unchanged(Quantizer):
    """The model as it is, in float32.

    Good as the reference that every other option is compared with, and wherever size and time do not matter.

    Bad where memory or bandwidth is short: each weight takes four bytes.

    Source: IEEE 754-2008, binary32.
    """

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        return source.path
