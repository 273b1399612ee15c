"""Never retrain."""

from __future__ import annotations

from typing import final

from weigh.retrain.cadence import Action, Cadence, Day


@final
class Never(Cadence):
    """Never retrain: the first model stays in service.

    Good where nothing drifts or a retraining costs more than it saves; bad wherever a model's error grows with its age.
    It is the frozen baseline that every other policy has to beat.

    Source: Gama, Zliobaite, Bifet, Pechenizkiy and Bouchachia, A survey on concept drift adaptation, ACM Computing
    Surveys 2014.
    """

    def act(self, day: Day) -> Action:
        return "keep"
