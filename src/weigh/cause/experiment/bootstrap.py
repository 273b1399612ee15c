"""The percentile bootstrap of the difference in means."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field

from weigh.cause.experiment import Analysis
from weigh.cause.experiment._arms import Experiments, Readings
from weigh.choice import Unfit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Bootstrap(Analysis):
    """Poisson bootstrap: the difference in means over resampled units, its interval from the percentiles.

    Good for skewed metrics in small experiments, where it needs no formula for the error. Bad at scale: it costs many
    times what Welch's test costs and says the same. Like Welch's test it holds for one look, on a day fixed in
    advance. Units are first summed into `buckets` at random, which are then resampled; with more buckets than units
    each unit stands for itself.

    Source: Efron and Tibshirani, An introduction to the bootstrap, 1993, chapter 13; Chamandy, Muralidharan, Najmi and
    Naidu, Estimating uncertainty for massive data streams, Google 2012 (Poisson weights).
    """

    draws: int = Field(399, ge=19, description="resamples; (draws + 1) * alpha / 2 should be a whole number")
    buckets: int = Field(256, ge=20, le=65536, description="groups an arm that are resampled as one")
    seed: int = Field(0, ge=0, description="of the resampling")

    def analyse(self, data: Experiments, alpha: float) -> Readings:
        import numpy as np

        rank = math.floor((self.draws + 1) * alpha / 2 + 1e-9)
        if rank < 1:
            least = math.ceil(2 / alpha) - 1
            raise Unfit(f"draws={self.draws} are too few for alpha={alpha:g}: type bootstrap:draws={least} or more")
        rng = np.random.default_rng([self.seed, data.seed])
        spread = self._resampled(*self._buckets(data), rng)
        tail = np.minimum((spread <= 0).sum(axis=2), (spread >= 0).sum(axis=2))
        p = np.minimum(2 * (1 + tail) / (self.draws + 1), 1.0)
        ends = (rank - 1, self.draws - rank)
        spread.sort(axis=2)
        empty = np.isnan(spread[:, :, -1])
        low, high, p = (np.where(empty, np.nan, x).T for x in (spread[:, :, ends[0]], spread[:, :, ends[1]], p))
        return Readings(data.treated.mean - data.control.mean, low, high, p)

    def _buckets(self, data: Experiments) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Units up to each look by bucket, shape (arm, look, 1, bucket), and their sums, experiments as third axis.

        A bucket takes every so-many-th unit of an arm, so that it holds units of all days.
        """
        import numpy as np

        units, (experiments, looks) = data.units(), data.shape
        sizes = np.zeros((2, looks, 1, self.buckets), dtype=np.float32)
        sums = np.zeros((2, looks, experiments, self.buckets), dtype=np.float32)
        first = (0, int(np.count_nonzero(~units.treated)))
        for arm, look, start, stop in units.cells():
            while start < stop:
                bucket = (start - first[arm]) % self.buckets
                end = min(stop, start + self.buckets - bucket)
                into = slice(bucket, bucket + end - start)
                sizes[arm, look, 0, into] += 1
                sums[arm, look, :, into] += units.y[:, start:end]
                start = end
        return sizes.cumsum(axis=1), sums.cumsum(axis=1)

    def _resampled(
        self, sizes: NDArray[np.float32], sums: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """The difference in means in each resample, shape (looks, experiments, draws); NaN where an arm is empty.

        One set of weights serves all experiments: each holds other units, so that their intervals stay independent.
        """
        import numpy as np

        weights = rng.poisson(1.0, (2, 1, self.buckets, self.draws)).astype(np.float32)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = (sums @ weights) / (sizes @ weights)
        return np.asarray(means[1] - means[0])
