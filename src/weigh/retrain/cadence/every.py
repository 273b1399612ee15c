"""Retrain after a fixed number of days."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, final

from pydantic import Field

from weigh.retrain.cadence import Action, Cadence, Day


@final
class Every(Cadence):
    """Retrain every so many days, counted from the start.

    Good for a period that the calendar has no name for. Where a model's error grows by r a day, n rows a day and a
    price of C errors a retraining make sqrt(2 C / (r n)) days the best period; bad where drift comes in jumps.

    Source: the square-root law of Harris, How many parts to make at once, Factory 1913, with error for stock.
    """

    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({"days": 14},)

    days: int = Field(10, ge=1, description="days from one retraining to the next")

    def act(self, day: Day) -> Action:
        return "retrain" if day.number % self.days == 0 else "keep"
