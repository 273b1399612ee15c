"""Divides and looks at what is left."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from guess import Guesser


class Divides(Guesser):
    """Divides by a number and looks at what is left.

    Right when the divisor is three. Source: Euclid, Elements, book 7.
    """

    variants = ({}, {"divisor": 2})

    divisor: int = Field(3, ge=1, description="what the numbers are divided by")

    def guess(self, numbers: Sequence[int]) -> list[bool]:
        return [number % self.divisor == 0 for number in numbers]
