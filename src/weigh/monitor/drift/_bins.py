"""Shares of values a bin, for options that compare histograms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from weigh.monitor.drift._sample import Sample

if TYPE_CHECKING:
    from weigh.monitor.drift._sample import Floats, Ints


@dataclass(frozen=True, slots=True)
class Bins:
    """Bins of every column, as many as its reference needs, and the reference's share of values in each.

    A number falls into the bin `(edge, next edge]`; a category's level is its own bin; missing values fill bin 0.
    """

    edges: Floats
    offsets: Ints
    width: int
    shares: Floats

    @classmethod
    def of(cls, reference: Sample, bins: int) -> Bins:
        """Quantile bins, at most `bins` a number column (fewer where quantiles coincide)."""
        import numpy as np

        inner = np.arange(1, bins) / bins
        edges = np.full((bins - 1, len(reference.numbers)), np.inf)
        for column, values in enumerate(reference.numbers):
            distinct = np.unique(np.quantile(values[~np.isnan(values)], inner, method="inverted_cdf"))
            edges[: len(distinct), column] = distinct
        width = max(bins + 1 if len(reference.numbers) else 0, *reference.levels, 1)
        offsets = np.arange(len(reference.codes))[:, None] * width
        made = cls(edges, offsets, width, np.empty(0))
        return cls(edges, offsets, width, made.share(reference))

    def share(self, sample: Sample) -> Floats:
        """Share of the rows in each bin, shape (columns, bins): number columns first; rows sum to one."""
        import numpy as np

        numbers, codes = sample.numbers, sample.codes
        counts = np.zeros((len(numbers) + len(codes), self.width))
        if len(numbers):
            above = np.stack([np.isfinite(numbers), *(numbers > edge[:, None] for edge in self.edges)])
            over = above.sum(axis=2, dtype=np.int64).T
            counts[: len(numbers), 0] = sample.rows - over[:, 0]
            counts[: len(numbers), 1 : over.shape[1]] = over[:, :-1] - over[:, 1:]
            counts[: len(numbers), over.shape[1]] = over[:, -1]
        if len(codes):
            flat = np.bincount((codes + self.offsets).ravel(), minlength=len(codes) * self.width)
            counts[len(numbers) :] = flat.reshape(len(codes), self.width)
        return counts / sample.rows
