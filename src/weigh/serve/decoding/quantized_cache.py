"""A cache in few bits."""

from __future__ import annotations

from typing import ClassVar, Literal, final

from pydantic import Field

from weigh.choice import Needs, Unfit
from weigh.serve._compiler import need_compiler
from weigh.serve.decoding import NEEDS, Decoder, Served, Session
from weigh.serve.decoding._greedy import Greedy
from weigh.serve.decoding._runner import ModuleRunner


@final
class Quantized(Decoder):
    """A cache whose older keys and values are kept in 4 or 2 bits; the latest ones stay as they are.

    Good for long texts that would not fit otherwise.

    Bad for speed: all that is kept is widened again for each token. Answers are not those of plain greedy decoding;
    how far they agree is measured.

    Source: Liu et al., KIVI (arXiv 2402.02750); `transformers.QuantizedCache` with optimum-quanto.
    """

    needs: ClassVar[Needs] = Needs(packages=(*NEEDS.packages, "optimum-quanto>=0.2.7"), extra="serve")
    exact: ClassVar[bool] = False

    bits: Literal[4, 2] = Field(4, description="of each number that is kept")
    group: int = Field(
        0,
        ge=0,
        description="numbers that share a scale, a divisor of kv_heads x head_dim; 64 or the next smaller when 0",
    )
    latest: int = Field(32, ge=1, description="so many of the latest tokens may wait in full precision")

    def open(self, served: Served) -> Session:
        from transformers import QuantizedCache

        need_compiler("optimum-quanto, on its first use,")
        config = served.module.config
        width = config.num_key_value_heads * config.head_dim
        group = self.group or next(size for size in (64, 32, 16, 8, 4, 2, 1) if width % size == 0)
        if width % group:
            raise Unfit(f"groups of {group} do not divide the {width} numbers of a token's keys: type group=...")
        return Greedy(
            ModuleRunner(
                served.module,
                lambda: QuantizedCache(
                    backend="quanto", config=config, nbits=self.bits, axis_key=0, axis_value=0,
                    q_group_size=group, residual_length=self.latest,
                ),
            )
        )  # fmt: skip
