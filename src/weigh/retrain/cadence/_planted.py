"""Options for the harness's own tests: one that must lose, and two that nobody can tell apart."""

from __future__ import annotations

import random
from typing import final

from pydantic import Field

from weigh.retrain.cadence import Action, Cadence, Day


@final
class Restless(Cadence):
    """The planted loser: puts a new model into service every morning, a fitted one and the incremental one in turn.

    On the toy task that costs more than all the errors that it saves, so that even `never` is better.
    """

    def act(self, day: Day) -> Action:
        return "retrain" if day.number % 2 else "update"


@final
class Dice(Cadence):
    """A twin: throws dice of its own each morning and retrains about once a week, at no day more likely than at others.

    Two of them with different salts have the same expected cost on any history, and schedules of their own, which
    change with the seed of the run.
    """

    salt: int = Field(0, description="makes the dice another one's")
    days: float = Field(7.0, ge=1, description="days between retrainings, on average")

    def act(self, day: Day) -> Action:
        throw = random.Random(f"{day.seed}/{self.salt}/{day.number}").random()
        return "retrain" if throw < 1.0 / self.days else "keep"
