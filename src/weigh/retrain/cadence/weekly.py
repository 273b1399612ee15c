"""Retrain once a week."""

from __future__ import annotations

from typing import final

from pydantic import Field

from weigh.retrain.cadence import Action, Cadence, Day


@final
class Weekly(Cadence):
    """Retrain once a week, always on the same weekday.

    Good as a period that people can plan around and that no false alarm can disturb; bad where drift comes in jumps
    that a week is too long to wait for, or where nothing changes for months.

    Source: Bifet, Read, Zliobaite, Pfahringer and Holmes, Pitfalls in benchmarking data stream classification and how
    to avoid them, ECML PKDD 2013 (fixed periods are hard to beat).
    """

    weekday: int = Field(0, ge=0, le=6, description="0 is Monday, 6 is Sunday")

    def act(self, day: Day) -> Action:
        return "retrain" if day.date.weekday() == self.weekday else "keep"
