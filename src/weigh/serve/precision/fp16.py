"""Half precision."""

from __future__ import annotations

from typing import Any, Literal, final

from pydantic import Field

from weigh.serve.precision import Precision


@final
class Fp16(Precision):
    """Half precision: 11 bits of significand and 5 of exponent, in matrix products or throughout.

    Good on GPUs and on processors with AVX512-FP16 or Arm's: three digits, eight times finer than bfloat16.

    Bad for activations beyond 65,504, which overflow to infinity, and on processors that must convert it.

    Source: IEEE 754-2019, binary16; Micikevicius et al. (arXiv 1710.03740); `torch.autocast`.
    """

    how: Literal["autocast", "cast"] = Field(
        "autocast", description="products of matrices alone (autocast), or weights and everything else too (cast)"
    )

    def wrap(self, module: Any) -> Any:
        from weigh.serve.precision._wrapped import autocast, cast

        return (autocast if self.how == "autocast" else cast)(module, "float16")
