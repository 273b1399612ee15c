"""A student without a teacher."""

from __future__ import annotations

from pathlib import Path
from typing import final

from weigh.compress.distill import Calibration, Distiller
from weigh.compress.distill._settings import Batch, Layers, Mlp, Numbers, Rate, Seed, Share, Steps, Student
from weigh.compress.distill._students import paths, taught
from weigh.model.distilling import Aim
from weigh.model.source import Source


@final
class Plain(Distiller):
    """The smaller student, trained on the text (or the labels) alone: what the others gain is due to the teacher.

    Good as the control of distilling, and where there is far more text than a teacher could be asked about.

    Bad with little text, which says of each place only which token came, and not which others might have.

    Source: Sanh et al., DistilBERT (arXiv 1910.01108), table 4 (a student without the losses of distilling).
    """

    share: Share = 0.5
    layers: Layers = 0
    mlp: Mlp = 1.0
    student: Student = ""
    steps: Steps = 40
    batch: Batch = 8
    rate: Rate = 5e-4
    seed: Seed = 0
    numbers: Numbers = "bfloat16"

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        return taught(self, source, calibration, folder, lambda _: Aim(soft=0.0))

    def reads(self) -> tuple[Path, ...]:
        return paths(self.student)
