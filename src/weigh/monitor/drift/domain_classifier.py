"""Option `domain_classifier` of `monitor/drift`."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field

from weigh.monitor.drift import DriftTest, Sample
from weigh.monitor.drift._vectors import Vectors

if TYPE_CHECKING:
    from weigh.monitor.drift._sample import Floats


class DomainClassifier(DriftTest):
    """Domain classifier: can a model tell rows of the window from rows of the reference?

    Score: area under the ROC curve on rows that the classifier has not seen, 0.5 without drift; a rule in use is
    ``domain_classifier:threshold=0.55``. The classifier is a linear discriminant over values, marks of missing values,
    marks of categories, and products of pairs of them, which is what makes it see a changed correlation. It is the
    first step of logistic regression on the same features, and needs milliseconds: the covariance of the reference is
    inverted once, and only means of the window are learnt.

    Good: sees drifts of every kind, those between columns too. Bad: with many columns each single one is diluted; does
    not see what changes neither a mean nor a product of two columns.

    Source: Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017 (arXiv 1610.06545); Fisher, Annals
    of Eugenics 7, 1936.
    """

    folds: int = Field(4, ge=2, le=20, description="parts of the window: each is scored by what the others have taught")
    paired: int = Field(24, ge=0, le=64, description="most coordinates of which products of pairs are looked at")
    ridge: float = Field(0.3, gt=0, description="added to the variance of each standardised feature")
    held_out: int = Field(2000, ge=50, description="most rows of the reference that are kept to compare with")

    def fit(self, reference: Sample) -> Discriminant:
        features = Features.over(Vectors.of(reference), self.paired)
        seen, held = _split(reference, min(self.held_out, reference.rows // 3))
        return Discriminant.of(features, seen, held, self.ridge)

    def score(self, state: Discriminant, window: Sample) -> float:
        import numpy as np

        order = [np.arange(fold, window.rows, self.folds) for fold in range(self.folds)]
        rows, chosen = state.features.halves(window.take(np.concatenate(order)))
        ends = np.cumsum([0, *map(len, order)])
        parts = [slice(first, last) for first, last in pairwise(ends)]
        sums = np.stack([state.features.sums(rows[part], chosen[part]) for part in parts], axis=1)
        others = (sums.sum(axis=1, keepdims=True) - sums) / (window.rows - np.diff(ends))
        weights = state.weights(others).astype(np.float32)
        known = np.sort((state.held @ weights).T, axis=1)
        scores = (state.features.apply(rows[part], chosen[part], weights[:, fold]) for fold, part in enumerate(parts))
        return float(np.mean([area(mine, score) for mine, score in zip(known, scores)]))


class Features(NamedTuple):
    """A row's vector, followed by the products of all pairs of its `paired` coordinates, squares included.

    They are never written down for a window: sums and weighted sums of products follow from the paired coordinates.
    """

    vectors: Vectors
    paired: Any
    pairs: tuple[Any, Any]

    @classmethod
    def over(cls, vectors: Vectors, most: int) -> Features:
        """With products of at most so many coordinates: numbers, then marks of levels, the most frequent ones first."""
        import numpy as np

        numbers = len(vectors.mean)
        starts = 2 * numbers + np.cumsum([0, *vectors.levels])[:-1]
        pairs = zip(starts, vectors.levels)
        marks = [(level, int(start) + level) for start, levels in pairs for level in range(1, levels)]
        paired = np.array([*range(numbers), *(place for _, place in sorted(marks))][:most], dtype=np.int64)
        return cls(vectors, paired, np.triu_indices(len(paired)))

    def halves(self, sample: Sample) -> tuple[Any, Any]:
        """The vectors, shape (rows, size), and their paired coordinates, shape (rows, paired)."""
        import numpy as np

        rows = self.vectors(sample)
        return np.ascontiguousarray(rows), np.ascontiguousarray(rows.T[self.paired].T)

    def of(self, sample: Sample) -> Any:
        """The features, shape (rows, features)."""
        import numpy as np

        rows, chosen = self.halves(sample)
        first, second = self.pairs
        return np.concatenate([rows, chosen[:, first] * chosen[:, second]], axis=1)

    def sums(self, rows: Any, chosen: Any) -> Floats:
        """The sum of the features over rows."""
        import numpy as np

        products = (chosen.T @ chosen)[self.pairs]
        return np.concatenate([np.ones(len(rows), np.float32) @ rows, products]).astype(np.float64)

    def apply(self, rows: Any, chosen: Any, weights: Any) -> Any:
        """The features times weights, one number a row."""
        import numpy as np

        size, count = self.vectors.size, len(self.paired)
        between = np.zeros((count, count), dtype=np.float32)
        between[self.pairs] = weights[size:]
        return rows @ weights[:size] + np.einsum("ij,ij->i", chosen @ between, chosen)


class Discriminant(NamedTuple):
    """What is known of the reference: the mean of its features, their inverse covariance, and rows held out."""

    features: Features
    mean: Floats
    inverse: Floats
    held: Any

    @classmethod
    def of(cls, features: Features, seen: Sample, held: Sample, ridge: float) -> Discriminant:
        """From rows to learn from and rows to hold out. A feature that never varied counts as seen once."""
        import numpy as np

        made = features.of(seen).astype(np.float64)
        mean, deviation = made.mean(axis=0), np.maximum(made.std(axis=0), len(made) ** -0.5)
        scaled = (made - mean) / deviation
        correlation = scaled.T @ scaled / len(made) + ridge * np.eye(len(mean))
        return cls(features, mean, np.linalg.inv(correlation) / np.outer(deviation, deviation), features.of(held))

    def weights(self, means: Floats) -> Floats:
        """Of the features, for windows with these means of theirs: shape (features, windows) for both."""
        return self.inverse @ (means - self.mean[:, None])


def area(known: Any, scores: Any) -> float:
    """The area under the ROC curve: the chance that a score is above a known one, equal ones counting half.

    Args:
        known: scores of the reference, ascending.
        scores: scores of the window.

    >>> import numpy as np
    >>> area(np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 9.0]))
    0.6875
    """
    import numpy as np

    scores = np.sort(scores)
    below = np.searchsorted(known, scores) + np.searchsorted(known, scores, side="right")
    return float(below.mean() / (2 * len(known)))


def _split(reference: Sample, held: int) -> tuple[Sample, Sample]:
    """The rows to learn from, and those to hold out."""
    return reference.take(slice(held, None)), reference.take(slice(0, held))
