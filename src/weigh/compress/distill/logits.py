"""A student taught by the teacher's scores."""

from __future__ import annotations

from pathlib import Path
from typing import final

from weigh.compress.distill import Calibration
from weigh.compress.distill._student import Soft, Student, Temperature
from weigh.compress.distill._students import taught
from weigh.model.distilling import Aim
from weigh.model.source import Source


@final
class Logits(Student):
    """Teaches a smaller student the teacher's whole distribution over next tokens or classes, softened.

    A sentence encoder has no scores; its student is taught how alike the sentences of a batch are to the teacher.

    Good with little text: each token says what else the teacher thought possible.

    Bad for time: the teacher reads every row of every step. A student starts out of the teacher's own layers; how near
    it comes depends on steps and text, and hundreds of steps are few.

    Source: Hinton et al., Distilling the knowledge in a neural network (arXiv 1503.02531); for encoders Fang et al.,
    SEED (arXiv 2101.04731).
    """

    soft: Soft = 0.5
    temperature: Temperature = 2.0

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        aim = Aim(soft=self.soft, temperature=self.temperature)
        return taught(self, source, calibration, folder, lambda _: aim)
