"""The settings of training on, and what they mean."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

Steps: TypeAlias = Annotated[
    int, Field(ge=0, description="updates of all weights after the heads were pooled; 0: the mean as it is")
]
Batch: TypeAlias = Annotated[int, Field(ge=1, description="windows of one update")]
Rate: TypeAlias = Annotated[float, Field(gt=0, description="greatest learning rate of AdamW")]
Seed: TypeAlias = Annotated[int, Field(ge=0, description="seed of the order of windows")]
Numbers: TypeAlias = Annotated[
    Literal["bfloat16", "float32"],
    Field(
        description="numbers of matrix products in training; CPUs without instructions for bfloat16 are faster in "
        "float32"
    ),
]
Taught: TypeAlias = Annotated[
    bool,
    Field(description="half of the loss is the divergence from the model as it was trained, half the text; else the "
          "text alone, as in the paper"),
]  # fmt: skip
