"""The most memory that a call holds at once, as torch's allocators hand it out: the same each time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from weigh.serve._silent import silent


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
    """Allocations less their own releases, in order of time, as the profiler saw them."""
    from torch.profiler import ProfilerActivity, profile

    with silent(), profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as seen:
        made = call()
    del made
    results = seen.profiler.kineto_results if seen.profiler else None
    assert results is not None
    return _highest(_changes(results.experimental_event_tree()))


def _changes(roots: Iterable[Any]) -> list[tuple[int, int, int]]:
    """When, where and by how many bytes memory was taken or given back, in order of time."""
    from torch._C._profiler import _EventType

    found, left = [], list(roots)
    while left:
        event = left.pop()
        left += event.children
        if event.tag == _EventType.Allocation:
            found.append((event.start_time_ns, event.extra_fields.ptr, event.extra_fields.alloc_size))
    return sorted(found, key=lambda change: change[0])


def _highest(changes: Iterable[tuple[int, int, int]]) -> int:
    """The peak; what was taken before is not counted when it is given back.

    >>> _highest([(0, 7, 10), (1, 8, 5), (2, 7, -10), (3, 9, -100), (4, 7, 4)])
    15
    """
    held: dict[int, int] = {}
    now = peak = 0
    for _, place, size in changes:
        if size > 0:
            held[place] = size
            now += size
        else:
            now -= held.pop(place, 0)
        peak = max(peak, now)
    return peak
