"""How high a score must be for an alarm: columns made comparable, and a level that quiet windows seldom exceed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from weigh.monitor.drift import DriftTest
    from weigh.monitor.drift._sample import Floats, Sample

UPPER = 0.95
"""A column's scores are divided by what this share of its quiet windows stays below: steady with few windows."""
_LEAST = 1e-9


class Level(NamedTuple):
    """What a test's scores are compared with.

    A rating is the largest of the columns' scores, each less `centre` and divided by `scale`; above `level` it alarms.
    """

    centre: Floats
    scale: Floats
    level: float

    @classmethod
    def of(cls, test: DriftTest, scores: Callable[[], Floats], rate: float, *, centred: bool = False) -> Level:
        """The test's own threshold; where it has none, calibrated on scores, which are asked for only then."""
        if test.threshold is not None:
            return cls.given(test.threshold)
        return cls.calibrated(scores(), rate, centred=centred)

    @classmethod
    def given(cls, threshold: float) -> Level:
        """A threshold on the scores themselves."""
        import numpy as np

        return cls(np.zeros(1), np.ones(1), threshold)

    @classmethod
    def calibrated(cls, scores: Floats, rate: float, *, centred: bool = False) -> Level:
        """The level that the next quiet window exceeds with a chance of about `rate`.

        Quiet windows and the next one are taken to be exchangeable, so that it falls between any two of m with a chance
        of 1 / (m + 1); between two windows the level is interpolated. A window's rating leaves it out of its scale.

        Args:
            scores: of quiet windows, shape (windows, columns).
            rate: share of quiet windows that may alarm.
            centred: scores may be negative or have a base, as an area has: count them from each column's median.
        """
        import numpy as np

        scores = np.nan_to_num(scores)
        centred = centred or scores.shape[1] == 1
        centre = np.median(scores, axis=0) if centred else np.zeros(scores.shape[1])
        above = scores - centre
        ordered = np.sort(above, axis=0)
        scale = np.maximum(_upper(ordered), _LEAST)
        without = scale if scores.shape[1] == 1 else np.maximum(_left_out(above, ordered), _LEAST)
        ratings = (above / without).max(axis=1)
        return cls(centre, scale, float(np.quantile(ratings, 1.0 - rate, method="weibull")))

    def columns(self, scores: Floats) -> Floats:
        """How far each column is, in thresholds: above 1 it would raise the alarm; NaN where nothing was read."""
        return (scores - self.centre) / self.scale / (self.level or 1.0)

    def rating(self, scores: Floats) -> float:
        """What is compared with the level; columns that nothing was read of count as quiet."""
        import numpy as np

        return float(((np.nan_to_num(scores) - self.centre) / self.scale).max())

    def alarms(self, scores: Floats) -> bool:
        """Whether scores raise an alarm."""
        return self.rating(scores) > self.level

    def __str__(self) -> str:
        if len(self.scale) == 1:
            return f"{self.centre[0] + self.level * self.scale[0]:.4g}"
        return f"{self.level:.4g} x each column's own"


def scores_of(test: DriftTest, state: Any, window: Sample) -> Floats:
    """A window's scores, shape (columns,), or (1,) of a test that gives one number; NaN where nothing was read.

    Raises:
        ValueError: the test returned a number that is not finite.
    """
    import numpy as np

    score = test.score(state, window.shared())
    if np.ndim(score) == 0:
        if not math.isfinite(float(score)):
            raise ValueError(f"{test.spec} gave a window the score {score}; a score is a finite number")
        return np.array([float(score)])
    found = np.asarray(score, dtype=np.float64)
    if not found.size or np.isinf(found).any():
        raise ValueError(f"{test.spec} gave a window the scores {found}; a score is a finite number, or NaN: not read")
    return found


def future_rate(windows: int, rate: float) -> tuple[float, float]:
    """Within which 90 % of levels, calibrated on so many windows, lie by the rate that they really hold.

    The rate that an order statistic holds has a beta distribution, whatever the scores (Wilks, 1941).

    >>> low, high = future_rate(39, 0.05)
    >>> round(low, 2), round(high, 2)
    (0.01, 0.12)
    """
    import numpy as np

    above = rate * (windows + 1)
    drawn = np.random.default_rng(0).beta(above, windows + 1 - above, 20_000)
    low, high = np.quantile(drawn, [0.05, 0.95])
    return float(low), float(high)


def _upper(ordered: Floats) -> Floats:
    import numpy as np

    found: Floats = np.quantile(ordered, UPPER, axis=0, method="weibull")
    return found


def _left_out(values: Floats, ordered: Floats) -> Floats:
    """For each row the upper quantile of all other rows, column by column."""
    import numpy as np

    count = len(values) - 1
    place = min(max(UPPER * (count + 1), 1.0), float(count)) - 1.0
    below, part = int(place), place - int(place)
    ranks = np.argsort(np.argsort(values, axis=0, kind="stable"), axis=0, kind="stable")
    low, high = (np.where(at < ranks, ordered[at], ordered[at + 1]) for at in (below, min(below + 1, count - 1)))
    found: Floats = low + part * (high - low)
    return found
