"""How much memory a process takes together with all that it started."""

from __future__ import annotations

from typing import Any


def resident_mb(pid: int) -> float:
    """Resident memory in MB of a process and its descendants; what they share counts once. 0 when it is gone."""
    import psutil

    try:
        process = psutil.Process(pid)
        children = process.children(recursive=True)
        parts = [_share(one) for one in (process, *children)] if children else [process.memory_info().rss]
    except psutil.Error:
        return 0.0
    return float(sum(parts)) / 2**20


def _share(process: Any) -> int:
    """Bytes that would be free without it, and its part of what it shares (where the system tells)."""
    import psutil

    try:
        full = process.memory_full_info()
    except psutil.Error:
        return 0
    return int(getattr(full, "pss", 0) or full.uss)
