"""Retrain every day."""

from __future__ import annotations

from typing import final

from weigh.retrain.cadence import Action, Cadence, Day


@final
class Daily(Cadence):
    """Retrain every morning on the newest labels.

    Good where a retraining is nearly free or a model ages within days; bad where it costs people's time, and of little
    use where labels arrive weeks late.

    Source: Mallick, Hsieh, Arzani and Joshi, Matchmaker: data drift mitigation in machine learning for large-scale
    systems, MLSys 2022.
    """

    def act(self, day: Day) -> Action:
        return "retrain"
