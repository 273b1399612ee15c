"""A process and all that it started, and how much memory they take together."""

from __future__ import annotations

from collections.abc import Iterable
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


def resident_mb(roots: Iterable[int]) -> float:
    """Resident memory of processes and their descendants in MB; what several of them share counts once."""
    found = {process.pid: process for root in roots for process in family(root)}
    return sum(map(_bytes, found.values())) / 1e6


def _bytes(process: Process) -> int:
    import psutil

    try:
        full = process.memory_full_info()
    except psutil.Error:
        return 0
    return int(getattr(full, "pss", 0) or full.uss)
