"""Retrain when the inputs drift."""

from __future__ import annotations

from typing import final

from pydantic import Field

from weigh.retrain.cadence import Action, Cadence, Day


@final
class OnDrift(Cadence):
    """Retrain when features have drifted from the training window of the model in service.

    A feature has drifted when the population stability index (PSI) of its last `days` days against the training window
    exceeds `threshold`; of many features some always have. Good where labels arrive too late to be of help; bad where
    inputs move and the relation to the label does not (a season's temperature), and blind where only that one moves.

    Source: Siddiqi, Credit risk scorecards, Wiley 2006 (PSI, where 0.25 is a major shift).
    """

    threshold: float = Field(0.25, gt=0, description="PSI above which a feature has drifted")
    share: float = Field(0.3, ge=0, lt=1, description="share of the features: as soon as more have drifted, retrain")
    days: int = Field(7, ge=1, description="days of inputs that are compared with the training window")
    rest: int = Field(7, ge=1, description="days after a retraining in which none follows")

    def act(self, day: Day) -> Action:
        if day.age < self.rest:
            return "keep"
        indices = day.drift(self.days)
        drifted = sum(index > self.threshold for index in indices)
        return "retrain" if drifted > self.share * len(indices) else "keep"
