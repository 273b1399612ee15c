"""Needs what nobody has."""

from __future__ import annotations

from collections.abc import Sequence

from guess import Guesser
from weigh.choice import Needs


class Needy(Guesser):
    """Asks a library that nobody has.

    Good nowhere. Source: none.
    """

    needs = Needs(packages=("no-such-package>=2",))

    def guess(self, numbers: Sequence[int]) -> list[bool]:
        import no_such_package

        return [no_such_package.is_multiple(number) for number in numbers]
