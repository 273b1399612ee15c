"""The memory-efficient kernel for the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from weigh.choice import Unfit
from weigh.serve.attention import Attention

if TYPE_CHECKING:
    import torch


@final
class Sdpa(Attention):
    """Flash attention on the CPU: blocks of scores that never leave the cache, by PyTorch's fused kernel.

    Good for sequences of any length: extra memory grows with the length and not with its square. The kernel is forced;
    where it cannot take the tensors the option is unfit, and PyTorch's own fall-back to plain maths is not used.

    Bad where the weights themselves are needed, or a mask that the kernel does not know.

    Source: Dao et al., FlashAttention (arXiv 2205.14135); `torch.nn.functional.scaled_dot_product_attention`.
    """

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> torch.Tensor:
        from torch.nn.attention import SDPBackend, sdpa_kernel
        from torch.nn.functional import scaled_dot_product_attention

        grouped = q.shape[1] != k.shape[1]
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            try:
                return scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=grouped)
            except RuntimeError as error:
                if "No available kernel" not in str(error):
                    raise
                raise Unfit(
                    f"PyTorch's flash kernel for the CPU takes no {q.dtype} tensors of shape {tuple(q.shape)}: "
                    "give float32, bfloat16 or float16 and heads of equal width, or take naive"
                ) from None
