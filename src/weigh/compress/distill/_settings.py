"""The settings that students share, and what they mean."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol, TypeAlias

from pydantic import Field

Share: TypeAlias = Annotated[
    float, Field(gt=0, le=1, description="share of the teacher's layers that the student keeps, spread evenly")
]
Layers: TypeAlias = Annotated[int, Field(ge=0, description="layers that the student keeps; by `share` when 0")]
Mlp: TypeAlias = Annotated[
    float, Field(gt=0, le=1, description="share of the neurons that each feed-forward part keeps, the greatest first")
]
Student: TypeAlias = Annotated[
    str,
    Field(
        description="a student of your own in place of one cut out of the teacher: a Hugging Face folder of the same "
        "tokenizer, or the code that builds a net, as net.py:build; it is run"
    ),
]
Steps: TypeAlias = Annotated[int, Field(ge=1, description="updates of the student's weights")]
Batch: TypeAlias = Annotated[int, Field(ge=1, description="rows of one update")]
Rate: TypeAlias = Annotated[float, Field(gt=0, description="greatest learning rate of AdamW")]
Seed: TypeAlias = Annotated[int, Field(ge=0, description="seed of the order of rows and of all that is drawn")]
Numbers: TypeAlias = Annotated[
    Literal["bfloat16", "float32"],
    Field(
        description="numbers of matrix products in training; CPUs without instructions for bfloat16 are faster in "
        "float32"
    ),
]
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


class Taught(Protocol):
    """What every student has."""

    @property
    def name(self) -> str: ...
    @property
    def share(self) -> float: ...
    @property
    def layers(self) -> int: ...
    @property
    def mlp(self) -> float: ...
    @property
    def student(self) -> str: ...
    @property
    def steps(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def rate(self) -> float: ...
    @property
    def seed(self) -> int: ...
    @property
    def numbers(self) -> Literal["bfloat16", "float32"]: ...
