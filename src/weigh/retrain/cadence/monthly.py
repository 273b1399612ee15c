"""Retrain once a month."""

from __future__ import annotations

from typing import final

from pydantic import Field

from weigh.retrain.cadence import Action, Cadence, Day


@final
class Monthly(Cadence):
    """Retrain once a month, always on the same day of the month.

    Good where drift is slow or each new model has to be reviewed by people; bad where a season or a campaign is over
    before the next retraining.

    Source: Bifet, Read, Zliobaite, Pfahringer and Holmes, Pitfalls in benchmarking data stream classification and how
    to avoid them, ECML PKDD 2013 (fixed periods are hard to beat).
    """

    day: int = Field(1, ge=1, le=28, description="day of the month")

    def act(self, day: Day) -> Action:
        return "retrain" if day.date.day == self.day else "keep"
