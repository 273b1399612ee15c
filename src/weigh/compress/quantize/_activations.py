"""The setting that options with quantized activations share."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

Activations: TypeAlias = Annotated[
    Literal["uint8", "int8"], Field(description="type of activations: uint8 suits x86, int8 suits ARM")
]
