"""The memory-efficient kernels of an NVIDIA GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from weigh.choice import Needs, Unfit
from weigh.serve.attention import Attention

if TYPE_CHECKING:
    import torch


@final
class CudaFlash(Attention):
    """Flash attention on an NVIDIA GPU: FlashAttention-2, cuDNN's kernel, or the memory-efficient one, forced.

    Good for long sequences in bfloat16 or float16, on a GPU of compute capability 8.0 or newer. Nothing falls back: a
    kernel that cannot take the tensors makes the option unfit.

    Bad for float32, which only the memory-efficient kernel takes.

    Source: Dao, FlashAttention-2 (arXiv 2307.08691); `torch.nn.attention.sdpa_kernel`.
    """

    needs: ClassVar[Needs] = Needs(packages=("torch>=2.8",), extra="serve", hardware="nvidia")
    device: ClassVar[str] = "cuda"

    kernel: Literal["flash", "cudnn", "efficient"] = Field("flash", description="which of PyTorch's CUDA kernels")

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> torch.Tensor:
        import torch
        from torch.nn.attention import SDPBackend, sdpa_kernel
        from torch.nn.functional import scaled_dot_product_attention

        backends = {
            "flash": SDPBackend.FLASH_ATTENTION,
            "cudnn": SDPBackend.CUDNN_ATTENTION,
            "efficient": SDPBackend.EFFICIENT_ATTENTION,
        }
        if q.dtype == torch.float32 and self.kernel != "efficient":
            raise Unfit(f"the {self.kernel} kernel has no float32: give dtype=bfloat16, or kernel=efficient")
        if self.kernel == "efficient" and q.shape[1] != k.shape[1]:  # it knows no groups
            k, v = (one.repeat_interleave(q.shape[1] // k.shape[1], 1) for one in (k, v))
        with sdpa_kernel(backends[self.kernel]):
            try:
                grouped = q.shape[1] != k.shape[1]
                return scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=grouped)
            except RuntimeError as error:
                if "No available kernel" not in str(error):
                    raise
                raise Unfit(f"this GPU has no {self.kernel} kernel for {q.dtype}, shape {tuple(q.shape)}") from None
