"""Option `jensen_shannon` of `monitor/drift`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from weigh.choice import Needs
from weigh.monitor.drift import DriftTest, Sample
from weigh.monitor.drift._bins import Bins

if TYPE_CHECKING:
    from weigh.monitor.drift._sample import Floats


class JensenShannon(DriftTest):
    """Jensen-Shannon distance of each column: the histogram against that of the reference, between 0 and 1.

    Score: the distance of each column (square root of the divergence, in bits); a common rule is
    ``jensen_shannon:threshold=0.1``. Missing values are a bin of their own, in numbers and categories.

    Good: as `psi`, but bounded and in no need of a floor under empty bins. Bad: as `psi`, its size without drift
    depends on bins and rows; blind to anything between columns.

    Source: Lin, IEEE Transactions on Information Theory 37, 1991; Endres and Schindelin, same journal 49, 2003.
    """

    needs = Needs(packages=("scipy>=1.15",), extra="monitor")

    bins: int = Field(10, ge=2, le=100, description="most bins a number column: quantiles of the reference")

    def fit(self, reference: Sample) -> Bins:
        return Bins.of(reference, self.bins)

    def score(self, state: Bins, window: Sample) -> Floats:
        from scipy.spatial.distance import jensenshannon

        distance: Floats = jensenshannon(state.shares, state.share(window), base=2, axis=1)
        return distance
