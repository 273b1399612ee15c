"""What the options that pool heads have in common: the model is trained on, and what its settings mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from weigh.compress.heads import Regrouper
from weigh.model.training import Numbers


class Pooled(Regrouper):
    """An option that pools heads and trains the model on."""

    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"steps": 0})

    steps: int = Field(40, ge=0, description="updates of all weights after the heads were pooled; 0: the mean as it is")
    batch: int = Field(8, ge=1, description="windows of one update")
    rate: float = Field(2e-4, gt=0, description="greatest learning rate of AdamW")
    seed: int = Field(0, ge=0, description="seed of the order of windows")
    numbers: Numbers = "bfloat16"
    taught: bool = Field(
        False,
        description="half of the loss is the divergence from the model as it was trained, half the text; else the "
        "text alone, as in the paper",
    )
