"""A process and all that it started, and how much memory they take together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psutil import Process


def family(pid: int) -> list[Process]:
    """A process and its descendants; none when it is gone."""
    import psutil

    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def resident_mb(processes: Sequence[Process]) -> float:
    """Resident memory in MB; what several processes share counts once."""
    return sum(_bytes(one, alone=len(processes) == 1) for one in processes) / 2**20


def _bytes(process: Process, alone: bool) -> int:
    import psutil

    try:
        if alone:
            return int(process.memory_info().rss)
        full = process.memory_full_info()
    except psutil.Error:
        return 0
    return int(getattr(full, "pss", 0) or full.uss)
