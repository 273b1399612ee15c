"""The most memory that a call holds at once, as torch's allocators hand it out: the same each time."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def extra_memory(call: Callable[[], torch.Tensor]) -> int:
    """Bytes that `call` holds at its peak, beyond what was held before and what it returns.

    Args:
        call: returns the output; it was run before, so that nothing is compiled or kept for the first time.
    """
    held = call()
    if held.is_cuda:
        return _on_gpu(call)
    del held
    return _on_cpu(call)


def _on_gpu(call: Callable[[], torch.Tensor]) -> int:
    import torch

    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    made = call()
    torch.cuda.synchronize()
    return max(torch.cuda.max_memory_allocated() - before - made.numel() * made.element_size(), 0)


def _on_cpu(call: Callable[[], torch.Tensor]) -> int:
    """Allocations less releases, in order of time, as the profiler saw them."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it is loud on stderr at every start and stop
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as seen:
        made = call()
    results = seen.profiler.kineto_results if seen.profiler else None
    assert results is not None
    events = sorted((one.start_ns(), one.nbytes()) for one in results.events() if one.name() == "[memory]")
    peak = max(accumulate((size for _, size in events), initial=0))
    return max(peak - made.numel() * made.element_size(), 0)
