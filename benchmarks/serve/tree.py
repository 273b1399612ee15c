"""The processes of a server: what they have used of the processors, and a way to let them rest."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Mapping
from typing import final

import psutil

from weigh.serve.platform._resident import family, resident_mb

Used = Mapping[tuple[int, float], float]
"""Processor seconds, user and system, of each process by its id and the time at which it was made."""


@final
class Tree:
    """A process and all that it started.

    Args:
        root: the id of the first one.
    """

    def __init__(self, root: int) -> None:
        self.root = root
        self._members: list[psutil.Process] = []
        self.look()

    def look(self) -> None:
        """Find out who belongs to it now."""
        self._members = family(self.root)

    def used(self) -> Used:
        """What each of its processes has used so far."""
        found = {}
        for one in self._members:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = one.cpu_times()
                found[one.pid, one.create_time()] = times.user + times.system
        return found

    def rest(self) -> None:
        """Stop all of them where they are, so that they use nothing while others are measured."""
        self._tell(signal.SIGSTOP)

    def go_on(self) -> None:
        """The opposite of `rest`."""
        self._tell(signal.SIGCONT)

    def _tell(self, what: signal.Signals) -> None:
        for one in self._members:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(what)

    def memory(self) -> float:
        """Resident memory in MB; what several of its processes share counts once."""
        return resident_mb([self.root])

    def idle(self, seconds: float) -> float:
        """The share of one processor that it uses while nobody asks anything."""
        before, start = self.used(), time.perf_counter()
        time.sleep(seconds)
        return spent(before, self.used()) / (time.perf_counter() - start)


def spent(before: Used, after: Used) -> float:
    """Processor seconds between two looks: a process that is new counts from its start, one that has ended not at all.

    >>> spent({(1, 0.0): 2.0, (2, 0.0): 1.0}, {(1, 0.0): 2.5, (3, 9.0): 0.25})
    0.75
    """
    return sum(seconds - before.get(one, 0.0) for one, seconds in after.items())
