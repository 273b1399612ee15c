"""A student taught by the teacher's hidden states too."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, final

from pydantic import Field

from weigh.compress.distill import Calibration
from weigh.compress.distill._student import Soft, Student, Temperature
from weigh.compress.distill._students import Class, taught
from weigh.model.distilling import Aim
from weigh.model.source import Source


@final
class Hidden(Student):
    """Teaches a smaller student the teacher's scores and its hidden states, token by token.

    Good for encoders, whose vectors are their hidden states, and for deep students: each layer is told what to do.

    Bad for students of another width, which have nothing to compare, and for nets of which only scores are known.

    Source: Sanh et al., DistilBERT (arXiv 1910.01108), cosine of the last states; Jiao et al., TinyBERT
    (arXiv 1909.10351), squared differences of all.
    """

    weight: float = Field(1.0, gt=0, description="weight of the distance between hidden states in the loss")
    match: Literal["cosine", "mse"] = Field(
        "cosine", description="that distance: 1 - cosine, or the squared difference as a share of the teacher's squares"
    )
    states: Literal["last", "all"] = Field(
        "last",
        description="which states: the last, or of each of the student's layers the one as far up in the teacher",
    )
    soft: Soft = 0.5
    temperature: Temperature = 2.0

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        return taught(self, source, calibration, folder, self._aim)

    def _aim(self, pupils: Class) -> Aim:
        return Aim(self.soft, self.temperature, self.weight, self.match, paired(pupils) if self.states == "all" else ())


def paired(pupils: Class) -> tuple[tuple[int, int], ...]:
    """Which states of student and teacher belong together: after the same share of the layers; none if not layered."""
    mine, theirs = (
        getattr(getattr(net, "config", None), "num_hidden_layers", 0) for net in (pupils.student, pupils.teacher)
    )
    return tuple((place, round(place * theirs / mine)) for place in range(1, mine + 1))
