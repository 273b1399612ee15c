"""TensorFloat-32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, final

from weigh.choice import Needs, Unfit
from weigh.serve.precision import Precision


@final
class Tf32(Precision):
    """TensorFloat-32: single precision whose matrix products drop 13 bits of the factors' significand, on the GPU.

    Good on NVIDIA GPUs since Ampere: weights and code stay as they are, and products run on tensor cores.

    Bad elsewhere: no CPU and no other GPU has it. The time that inputs and answers travel is part of what is measured.

    Source: NVIDIA, A100 Tensor Core GPU Architecture (2020); `torch.backends.cuda.matmul.fp32_precision`.
    """

    needs: ClassVar[Needs] = Needs(packages=("torch>=2.13",), extra="serve", hardware="nvidia")

    def wrap(self, module: Any) -> Any:
        import torch

        from weigh.serve.precision._wrapped import on_gpu

        if not torch.cuda.is_available():
            raise Unfit("this torch has no CUDA: install a build of torch for the GPU that is here")
        if torch.cuda.get_device_capability() < (8, 0):
            raise Unfit(
                f"{torch.cuda.get_device_name()} has no TensorFloat-32: it takes compute capability 8.0 or newer"
            )
        return on_gpu(module, allowed)


@contextmanager
def allowed() -> Iterator[None]:
    """Matrix products and convolutions may use TensorFloat-32 inside the block."""
    import torch

    layers: Any = torch.backends.cudnn
    parts = torch.backends.cuda.matmul, layers.conv
    before = [part.fp32_precision for part in parts]
    for part in parts:
        part.fp32_precision = "tf32"
    try:
        yield
    finally:
        for part, precision in zip(parts, before):
            part.fp32_precision = precision
