"""Single precision."""

from __future__ import annotations

from typing import Any, final

from weigh.serve.precision import Precision


@final
class Fp32(Precision):
    """Single precision: 8 bits of exponent, 24 of significand, as most models are trained and judged.

    Good as the reference.

    Bad for speed where the processor multiplies smaller numbers faster.

    Source: IEEE 754-2019, binary32.
    """

    def wrap(self, module: Any) -> Any:
        return module.float() if hasattr(module, "float") else module
