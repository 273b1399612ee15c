"""An always-valid analysis: it may be looked at every day, and stopped at any."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from weigh.cause.experiment import Analysis
from weigh.cause.experiment._arms import Experiments, Readings
from weigh.cause.experiment._difference import difference
from weigh.choice import Needs


class Sequential(Analysis):
    """Always-valid interval (normal mixture): the chance that it *ever* leaves out the true effect is at most alpha.

    Good when people look at a running experiment and stop it early, winner or loser. Bad when the experiment is read
    once: the interval is about 1.5 times as wide as Welch's at the planned end, and wider before. The guarantee is
    asymptotic: the first look should have some tens of units in each arm (`least`).

    Source: Johari, Koomen, Pekelis and Walsh, Always valid inference, Operations Research 2022; Waudby-Smith et al.,
    Time-uniform central limit theory and asymptotic confidence sequences, 2103.06476, theorem 2.2 and appendix B.2.
    """

    needs: ClassVar[Needs] = Needs()
    any_time: ClassVar[bool] = True
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"covariate": True})

    covariate: bool = Field(False, description="take out what the covariate explains, as CUPED does")
    tight_at: float = Field(
        1.0, gt=0, le=1, description="where the interval is narrowest for its size: share of the planned units"
    )
    least: int = Field(20, ge=2, description="units an arm below which nothing is said")

    def analyse(self, data: Experiments, alpha: float) -> Readings:
        import numpy as np

        made = difference(data, self.covariate)
        ratio = mixing(alpha) * (data.control.n + data.treated.n) / (self.tight_at * data.planned)
        early = np.minimum(data.control.n, data.treated.n) < self.least
        with np.errstate(invalid="ignore", divide="ignore"):
            half = made.se * np.sqrt((1 + 1 / ratio) * (2 * math.log(1 / alpha) + np.log1p(ratio)))
            evidence = (made.effect / made.se) ** 2 * ratio / (1 + ratio) - np.log1p(ratio)
        half = np.where(early, np.inf, half)
        p = np.where(early, 1.0, np.exp(np.minimum(-0.5 * evidence, 0.0)))
        return Readings(made.effect, made.effect - half, made.effect + half, p)


def mixing(alpha: float) -> float:
    """Variance of the mixture over that of the estimate, where the interval is narrowest for the size of the sample.

    >>> round(mixing(0.05), 2)
    7.94
    """
    wide = -2 * math.log(alpha)
    return wide + math.log(wide + 1)
