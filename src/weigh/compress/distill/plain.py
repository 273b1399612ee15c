"""A student without a teacher."""

from __future__ import annotations

from pathlib import Path
from typing import final

from weigh.compress.distill import Calibration
from weigh.compress.distill._student import Student
from weigh.compress.distill._students import taught
from weigh.model.distilling import Aim
from weigh.model.source import Source


@final
class Plain(Student):
    """The smaller student, trained on the text (or the labels) alone: what the others gain is due to the teacher.

    Good as the control of distilling, and where there is far more text than a teacher could be asked about.

    Bad with little text, which says of each place only which token came, and not which others might have.

    Source: Sanh et al., DistilBERT (arXiv 1910.01108), table 4 (a student without the losses of distilling).
    """

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        return taught(self, source, calibration, folder, lambda _: Aim(soft=0.0))
