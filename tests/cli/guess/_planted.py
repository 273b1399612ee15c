"""The loser, and twins of equal worth."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from pydantic import Field

from guess import Guesser


class Wrong(Guesser):
    """Always says the opposite of what is true."""

    name = "wrong"

    def guess(self, numbers: Sequence[int]) -> list[bool]:
        return [number % 3 != 0 for number in numbers]


class Twin(Guesser):
    """Right on nine numbers of ten, which ones depends on the salt."""

    name = "twin"

    salt: str = Field("left", description="what decides which numbers are told wrong")

    def guess(self, numbers: Sequence[int]) -> list[bool]:
        return [(number % 3 == 0) != (zlib.crc32(f"{self.salt}{number}".encode()) % 10 == 0) for number in numbers]
