"""A column's own values, made more or less frequent: how a drift is planted where many rows share a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from weigh.monitor.drift._sample import Floats

_STEPS, _FARTHEST = 60, 50.0


class Tilt(NamedTuple):
    """The map of a distribution to one with other moments on the same values, rank by rank.

    A value at the rank u of the one becomes the value at the rank u of the other; among equal values u is drawn. Values
    that the distribution does not have stay. A tilt by nothing changes nothing.
    """

    values: Floats
    before: Floats
    after: Floats

    def __call__(self, column: Floats, rng: np.random.Generator) -> Floats:
        """The drifted column; missing values stay missing."""
        import numpy as np

        place = np.minimum(np.searchsorted(self.values, column), len(self.values) - 1)
        low = np.where(place > 0, self.before[place - 1], 0.0)
        ranks = low + rng.random(len(column)) * (self.before[place] - low)
        there = np.minimum(np.searchsorted(self.after, ranks, side="right"), len(self.values) - 1)
        return np.where(self.values[place] == column, self.values[there], column)


def tilt(column: Floats, size: float, *, scale: bool) -> Tilt:
    """Adds `size` standard deviations to the mean, or (`scale`) multiplies the spread around it by 1 + `size`.

    The other distribution is the nearest in relative entropy: weights exp(a z), or exp(a z + b z^2), of standardised
    values z (exponential tilting). Where the values do not allow so much, it goes as far as they do.
    """
    import numpy as np

    values, counts = np.unique(column[~np.isnan(column)], return_counts=True)
    shares = counts / counts.sum()
    mean = shares @ values
    z = (values - mean) / np.sqrt(shares @ (values - mean) ** 2)
    moments = np.stack([z, z * z]) if scale else z[None]
    target = np.array([0.0, (1.0 + size) ** 2]) if scale else np.array([size])
    return Tilt(values, np.cumsum(shares), np.cumsum(_tilted(shares, moments, target)))


def _tilted(shares: Floats, moments: Floats, target: Floats) -> Floats:
    """Shares times exp(sum of weights and moments), such that the moments' means are the target: Newton, damped."""
    import numpy as np

    def made(weights: Any) -> tuple[Floats, float]:
        exponent = weights @ moments
        raw = shares * np.exp(exponent - exponent.max())
        return raw / raw.sum(), float(np.log(raw.sum()) + exponent.max() - weights @ target)

    weights = np.zeros(len(target))
    found, loss = made(weights)
    for _ in range(_STEPS):
        off = moments - (moments @ found)[:, None]
        step = np.linalg.solve((off * found) @ off.T + 1e-9 * np.eye(len(target)), target - moments @ found)
        length = min(1.0, 5.0 / max(np.abs(step).max(), 1e-300))
        while length > 1e-6 and made(weights + length * step)[1] > loss:
            length /= 2
        weights = np.clip(weights + length * step, -_FARTHEST, _FARTHEST)
        found, loss = made(weights)
        if np.abs(moments @ found - target).max() < 1e-9:
            break
    return found
