"""Retrain when the error rises."""

from __future__ import annotations

import math
import statistics
from typing import final

from pydantic import Field

from weigh.retrain.cadence import Action, Cadence, Day


@final
class OnError(Cadence):
    """Retrain when the error on arrived labels is well above its usual level.

    Compares the mean loss of the labels that arrived in the last `days` days, of rows that the model in service
    predicted, with the median of the same over the `memory` days before, whatever was in service. Good after a jump,
    which no calendar knows of; bad where labels arrive late, and where the difficulty itself has seasons, since every
    hard week is an alarm.

    Source: Gama, Medas, Castillo and Rodrigues, Learning with drift detection, SBIA 2004 (three standard errors), over
    days instead of rows.
    """

    rise: float = Field(0.1, ge=0, description="rise above the usual level that is no alarm yet, as a share of it")
    sigmas: float = Field(3.0, ge=0, description="standard errors of independent rows that it must be exceeded by")
    days: int = Field(7, ge=1, description="days of labels that make one level")
    memory: int = Field(84, ge=1, description="days that the usual level is taken from")
    rest: int = Field(7, ge=1, description="days after a retraining in which none follows")

    def act(self, day: Day) -> Action:
        now = day.error(self.days, own=True)
        before = [day.error(self.days, ago) for ago in range(self.days, self.days + self.memory, self.days)]
        levels = [level for level in before if level is not None]
        if day.age < self.rest or now is None or not levels:
            return "keep"
        usual = statistics.median(levels)
        noise = self.sigmas * math.sqrt(usual * (1.0 - usual) / day.arrived(self.days, own=True))
        return "retrain" if now > usual * (1.0 + self.rise) + noise else "keep"
