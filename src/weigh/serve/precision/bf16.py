"""bfloat16."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, final

from pydantic import Field

from weigh.serve.precision import Precision


@final
class Bf16(Precision):
    """bfloat16: the range of single precision with 8 bits of significand, in matrix products or throughout.

    Good on processors that multiply it (AVX512-BF16, AMX, GPUs since Ampere): matrix products take a third of the time,
    and nothing overflows.

    Bad where it is emulated, and for answers that hang on small differences: two to three digits are left. Autocast
    converts weights anew in each call, which costs small batches more than it gains; cast converts them once.

    Source: Kalamkar et al. (arXiv 1905.12322); `torch.autocast`.
    """

    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"how": "cast"})

    how: Literal["autocast", "cast"] = Field(
        "autocast", description="products of matrices alone (autocast), or weights and everything else too (cast)"
    )

    def wrap(self, module: Any) -> Any:
        from weigh.serve.precision._wrapped import autocast, cast

        return (autocast if self.how == "autocast" else cast)(module, "bfloat16")
