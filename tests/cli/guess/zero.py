"""Nothing is a multiple of three."""

from __future__ import annotations

from collections.abc import Sequence

from guess import Guesser


class Zero(Guesser):
    """Says no to every number.

    Good when multiples are rare. Source: folklore.
    """

    def guess(self, numbers: Sequence[int]) -> list[bool]:
        return [False] * len(numbers)
