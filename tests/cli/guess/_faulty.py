"""The choice with one fault each: what the conformance kit must find."""

from __future__ import annotations

import itertools
from pathlib import Path

from guess import Guess, GuessBench, Rows
from weigh.choice import Block, Blocks, Option, Values

_calls = itertools.count()


class KindLoser(Guess):
    """Its loser is the best of all."""

    __module__ = "guess"

    def loser(self) -> Option:
        from guess.divides import Divides

        return Divides()


class UnequalTwins(Guess):
    """Its twins are of different worth."""

    __module__ = "guess"

    def twins(self) -> tuple[Option, Option]:
        from guess.divides import Divides

        return Divides(divisor=2), Divides()


class SameTwins(Guess):
    """Its twins are one and the same."""

    __module__ = "guess"

    def twins(self) -> tuple[Option, Option]:
        from guess._planted import Twin

        return Twin(salt="a"), Twin(salt="a")


class ParrotTwins(Guess):
    """Its twins have no randomness of their own."""

    __module__ = "guess"

    def twins(self) -> tuple[Option, Option]:
        from guess.divides import Divides

        return Divides(divisor=2000), Divides(divisor=3000)


class UnsteadyToy(Guess):
    """Its toy task is another each time."""

    __module__ = "guess"

    def toy(self, folder: Path, seed: int = 0) -> Rows:
        return super().toy(folder, next(_calls))


class NoCost(Guess):
    """Its cost is no measure."""

    __module__ = "guess"
    cost = "price"


class OutOfBounds(Guess):
    """Its bench gives shares above one."""

    __module__ = "guess"

    def open(self, task: Rows, seed: int) -> GuessBench:
        return _Generous(task, seed)


class NoFresh(Guess):
    """Its toy task has no fresh blocks."""

    __module__ = "guess"

    def open(self, task: Rows, seed: int) -> GuessBench:
        return _Short(task, seed)


class _Generous(GuessBench):
    def trial(self, subject: object, block: Block) -> Values:
        values = dict(super().trial(subject, block))  # type: ignore[arg-type]
        return {**values, "accuracy": [1.5] * self._task.batch}


class _Short(GuessBench):
    @property
    def blocks(self) -> Blocks:
        return Blocks(race=10, fresh=0)
