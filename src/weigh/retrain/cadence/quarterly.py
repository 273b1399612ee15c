"""Retrain four times a year."""

from __future__ import annotations

from typing import final

from pydantic import Field

from weigh.retrain.cadence import Action, Cadence, Day


@final
class Quarterly(Cadence):
    """Retrain on one day of January, April, July and October.

    Good where a new model has to pass an audit, or drift takes a year to matter; bad where seasons differ, since the
    window then holds the season that has just ended.

    Source: Bifet, Read, Zliobaite, Pfahringer and Holmes, Pitfalls in benchmarking data stream classification and how
    to avoid them, ECML PKDD 2013 (fixed periods are hard to beat).
    """

    day: int = Field(1, ge=1, le=28, description="day of the month")

    def act(self, day: Day) -> Action:
        return "retrain" if day.date.month % 3 == 1 and day.date.day == self.day else "keep"
