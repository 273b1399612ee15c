"""What the options that teach a student have in common: its size, its training, and what their settings mean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import Field

from weigh.compress.distill import Distiller
from weigh.model.training import Numbers

Temperature: TypeAlias = Annotated[
    float, Field(gt=0, description="what the scores of both are divided by before they are compared")
]
Soft: TypeAlias = Annotated[
    float,
    Field(
        gt=0,
        le=1,
        description="share of the loss that is the divergence from the teacher; the rest is cross entropy with the "
        "text, and nothing where there are no right answers",
    ),
]


class Student(Distiller):
    """An option that trains a student."""

    share: float = Field(
        0.5, gt=0, le=1, description="share of the teacher's layers that the student keeps, spread evenly"
    )
    layers: int = Field(0, ge=0, description="layers that the student keeps; by `share` when 0")
    mlp: float = Field(
        1.0, gt=0, le=1, description="share of the neurons that each feed-forward part keeps, the greatest first"
    )
    student: str = Field(
        "",
        description="a student of your own in place of one cut out of the teacher: a Hugging Face folder of the same "
        "tokenizer, or the code that builds a net, as net.py:build; it is run",
    )
    steps: int = Field(40, ge=1, description="updates of the student's weights")
    batch: int = Field(8, ge=1, description="rows of one update")
    rate: float = Field(5e-4, gt=0, description="greatest learning rate of AdamW")
    seed: int = Field(0, ge=0, description="seed of the order of rows and of all that is drawn")
    numbers: Numbers = "bfloat16"

    @property
    def is_code(self) -> bool:
        """Whether `student` names code that builds a net."""
        return ".py:" in self.student

    def reads(self) -> tuple[Path, ...]:
        file = Path(self.student.rpartition(":")[0] if self.is_code else self.student)
        return (file,) if self.student else ()
