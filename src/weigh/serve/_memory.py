"""The most memory that a call holds at once, as torch's allocators hand it out: the same each time."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import accumulate
from typing import Any


def peak_memory(call: Callable[[], Any], device: str = "cpu") -> int:
    """Bytes that `call` holds at its peak, what it returns among them, beyond what was held before.

    Args:
        call: was run before, so that nothing is compiled or kept for the first time.
    """
    return _on_cpu(call) if device == "cpu" else _on_gpu(call)


def _on_gpu(call: Callable[[], Any]) -> int:
    import torch

    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    made = call()
    torch.cuda.synchronize()
    del made
    return torch.cuda.max_memory_allocated() - before


def _on_cpu(call: Callable[[], Any]) -> int:
    """Allocations less releases, in order of time, as the profiler saw them."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it is loud on stderr at every start and stop
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as seen:
        made = call()
    del made
    results = seen.profiler.kineto_results if seen.profiler else None
    assert results is not None
    events = sorted((one.start_ns(), one.nbytes()) for one in results.events() if one.name() == "[memory]")
    return max(accumulate((size for _, size in events), initial=0))
