"""Option `mmd` of `monitor/drift`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field

from weigh.choice import Needs
from weigh.monitor.drift import DriftTest, Sample
from weigh.monitor.drift._vectors import Vectors

if TYPE_CHECKING:
    from weigh.monitor.drift._sample import Floats


class Mmd(DriftTest):
    """Maximum mean discrepancy: how far apart the two clouds of rows are, under a Gaussian kernel.

    Score: the unbiased estimate of the squared discrepancy, about 0 without drift. Rows are vectors of standardised
    numbers, marks of their missing values and marks of categories; the kernel is as wide as the median distance between
    rows of the reference, and is approximated by random Fourier features, so that a window costs its rows and not their
    square. There is no rule of thumb for a threshold: calibrate it.

    Good: one number for all columns together, and for shapes as well as means. Bad: a drift of a single column or of a
    correlation is a small part of the distance between rows of many columns, and needs large windows.

    Source: Gretton et al., A Kernel Two-Sample Test, JMLR 13, 2012; Rahimi and Recht, Random Features for Large-Scale
    Kernel Machines, NIPS 2007.
    """

    needs = Needs(packages=("scipy>=1.15",), extra="monitor")

    frequencies: int = Field(64, ge=1, le=4096, description="random frequencies, a sine and a cosine each")
    width: float = Field(1.0, gt=0, description="width of the kernel, in median distances of rows of the reference")
    seed: int = Field(0, ge=0, description="draws the frequencies")

    def fit(self, reference: Sample) -> Cloud:
        import numpy as np

        vectors = Vectors.of(reference)
        rows = vectors(reference)
        sigma = self.width * median_distance(rows[:500])
        drawn = np.random.default_rng(self.seed).normal(size=(vectors.size, self.frequencies)) / sigma
        waves = Waves(vectors, drawn.astype(np.float32))
        total = waves.total(rows)
        return Cloud(waves, sigma, total / len(rows), _within(total, len(rows)))

    def score(self, state: Cloud, window: Sample) -> float:
        total = state.waves.total(state.waves.vectors(window))
        across = float(total @ state.mean) / window.rows
        return _within(total, window.rows) + state.within - 2.0 * across


class Waves(NamedTuple):
    """Random Fourier features: products of two rows' features are about the Gaussian kernel of the rows."""

    vectors: Vectors
    frequencies: Any

    def total(self, rows: Any) -> Floats:
        """The sum of the features over rows: cosines, then sines; each row's features have length one."""
        import numpy as np

        angles = rows @ self.frequencies
        sums = np.concatenate([np.cos(angles).sum(axis=0), np.sin(angles).sum(axis=0)])
        return sums.astype(np.float64) / math.sqrt(self.frequencies.shape[1])


class Cloud(NamedTuple):
    """What is known of the reference: mean features, and the mean kernel between two different rows."""

    waves: Waves
    sigma: float
    mean: Floats
    within: float


def _within(total: Floats, rows: int) -> float:
    """The mean kernel between different rows, from the sum of their features."""
    return float(total @ total - rows) / (rows * (rows - 1))


def median_distance(rows: Any) -> float:
    """Median Euclidean distance between rows; 1 where most of them are the same."""
    import numpy as np
    from scipy.spatial.distance import pdist

    return float(np.median(pdist(rows))) or 1.0
