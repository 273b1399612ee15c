"""A kernel compiled for the mask."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, final

from weigh.serve._compiler import compiled
from weigh.serve.attention import Attention

if TYPE_CHECKING:
    import torch


@final
class Flex(Attention):
    """FlexAttention: the mask is a Python function, and `torch.compile` writes a blockwise kernel for it.

    Good for masks of one's own (sliding windows, documents, prefixes) at the memory of flash attention; blocks that the
    mask leaves out are not computed.

    Bad where there is no C++ compiler, for shapes that change often (each is compiled, in seconds), and for training on
    a CPU: there is no backward pass there.

    Source: Dong et al., Flex Attention (arXiv 2412.05496); `torch.nn.attention.flex_attention`.
    """

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> torch.Tensor:
        blocks = _blocks(q.shape[2], str(q.device)) if causal else None
        made: torch.Tensor = _kernel()(q, k, v, block_mask=blocks, enable_gqa=q.shape[1] != k.shape[1])
        return made


@cache
def _kernel() -> Callable[..., Any]:
    """The compiled function, one a process; it keeps a kernel for each shape."""
    from torch.nn.attention.flex_attention import flex_attention

    return compiled(flex_attention, dynamic=False)


@cache
def _blocks(length: int, device: str) -> Any:
    """Which blocks of scores a causal mask leaves; one a length, as a model would keep it."""
    from torch.nn.attention.flex_attention import create_block_mask

    return create_block_mask(_earlier, None, None, length, length, device=device)


def _earlier(batch: Any, head: Any, query: Any, key: Any) -> Any:
    return query >= key
