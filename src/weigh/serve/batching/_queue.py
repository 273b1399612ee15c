"""Requests that wait: bounded, in order of arrival, without those that were given up or are too late."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from weigh.serve.batching import Closed, Full, Late, Limits

E = TypeVar("E", bound="Entry")
WEIGHT, FIRST_GUESS, LEAST = 0.2, 0.05, 0.05


class Entry:
    """A request in a queue. `deadline` is on the clock of `time.monotonic`."""

    __slots__ = ("deadline",)

    def __init__(self, deadline: float | None) -> None:
        self.deadline = deadline

    def given_up(self) -> bool:
        """Whether nobody waits for it any more."""
        raise NotImplementedError

    def fail(self, error: Exception) -> None:
        """Tell whoever waits."""
        raise NotImplementedError

    def wanted(self) -> bool:
        """Whether it is to be computed; if it is too late, whoever waits is told."""
        if self.given_up():
            return False
        if self.deadline is None or self.deadline > time.monotonic():
            return True
        self.fail(Late("the deadline passed while the request waited"))
        return False


class Queue(Generic[E]):
    """Entries in order of arrival, and how long one of them takes on average."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.entries: deque[E] = deque()
        self.closed = False
        self._seconds = FIRST_GUESS

    def __len__(self) -> int:
        return len(self.entries)

    def admit(self) -> None:
        """Raises `Closed`, or `Full` with the time in which half of what waits is likely to be done."""
        if self.closed:
            raise Closed("this model takes no requests any more: it is being shut down or replaced")
        if len(self.entries) >= self._limits.waiting:
            self.forget(lambda entry: entry.given_up())
        if len(self.entries) >= self._limits.waiting:
            raise Full(max(LEAST, len(self.entries) / 2 * self._seconds))

    def took(self, seconds: float, entries: int) -> None:
        """So many were computed in that time: `Full` tells others how long to wait."""
        self._seconds += WEIGHT * (seconds / max(entries, 1) - self._seconds)

    def forget(self, which: Callable[[E], bool]) -> None:
        """Take entries out."""
        self.entries = deque(entry for entry in self.entries if not which(entry))

    def next(self) -> E | None:
        """The oldest entry that somebody waits for and whose deadline has not passed; it is taken out."""
        while self.entries:
            entry = self.entries.popleft()
            if entry.wanted():
                return entry
        return None

    def fail_all(self, error: Exception) -> None:
        """Nobody is served any more."""
        while self.entries:
            entry = self.entries.popleft()
            if not entry.given_up():
                entry.fail(error)
