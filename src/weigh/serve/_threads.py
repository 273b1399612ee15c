"""As many threads as a task asks for, and no gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def inferring(threads: int) -> Iterator[None]:
    """Run the block in inference mode with so many threads of torch; the number is put back afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)
