"""Option `psi` of `monitor/drift`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from weigh.monitor.drift import DriftTest, Sample
from weigh.monitor.drift._bins import Bins

if TYPE_CHECKING:
    from weigh.monitor.drift._sample import Floats


class Psi(DriftTest):
    """Population stability index of each column: the histogram against that of the reference, in ten bins.

    Score: the index of each column. The rule of credit scoring is ``psi:threshold=0.2`` (0.1 "look", 0.2 or
    0.25 "act"), whatever the window; what that rule finds is measured beside the calibrated test. Missing values are
    a bin of their own, in numbers and categories.

    Good: numbers, categories and missing values on one scale that people know. Bad: its size without any drift grows
    with the number of bins and falls with the rows of a window, so that no fixed threshold suits; blind to anything
    between columns.

    Source: Siddiqi, Credit Risk Scorecards, Wiley 2006; Yurdakul, Statistical Properties of Population Stability
    Index, 2018 (its distribution without drift).
    """

    variants = ({}, {"threshold": 0.2})

    bins: int = Field(10, ge=2, le=100, description="most bins a number column: quantiles of the reference")
    floor: float = Field(1e-4, gt=0, lt=0.1, description="least share of a bin: an empty one is not infinite")

    def fit(self, reference: Sample) -> Bins:
        return Bins.of(reference, self.bins)

    def score(self, state: Bins, window: Sample) -> Floats:
        import numpy as np

        known, found = np.maximum(state.shares, self.floor), np.maximum(state.share(window), self.floor)
        index: Floats = ((found - known) * np.log(found / known)).sum(axis=1)
        return index
