"""What an analysis reads (`Experiments`) and what it answers (`Readings`): many experiments at once, at every look."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from weigh.cause.experiment._plant import two_values
from weigh.choice import Unfit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm; each array has shape (experiments, looks) and covers all units enrolled up to that look.

    Attributes:
        n: units.
        mean, var: of the metric; the variance has divisor n - 1 and is NaN below two units.
        x_mean, x_var, cov: of the covariate, and its covariance with the metric; None without a covariate.
    """

    n: Floats
    mean: Floats
    var: Floats
    x_mean: Floats | None = None
    x_var: Floats | None = None
    cov: Floats | None = None

    @classmethod
    def of(cls, sums: Floats) -> Arm:
        """From sums over all units so far, shape (3 or 6, experiments, looks): count, y, y^2 (and x, x^2, x y)."""
        import numpy as np

        n, y, yy = sums[:3]
        with np.errstate(invalid="ignore", divide="ignore"):
            spare = np.where(n > 1, n - 1, np.nan)
            mean = y / n
            var = np.maximum(yy - y * mean, 0.0) / spare
            if len(sums) == 3:
                return cls(n, mean, var)
            x, xx, xy = sums[3:]
            x_mean = x / n
            return cls(n, mean, var, x_mean, np.maximum(xx - x * x_mean, 0.0) / spare, (xy - x * mean) / spare)


@dataclass(frozen=True, slots=True)
class Units:
    """The same experiments unit by unit. All have the same number of units in each arm and look.

    Attributes:
        y: the metric, shape (experiments, units): control first, then treated; in each by look, then in random order.
        x: the covariate, of the same shape; None without one.
        treated, look: arm and look of each column, shape (units,).
    """

    y: Floats
    x: Floats | None
    treated: NDArray[np.bool_]
    look: NDArray[np.int64]

    def cells(self) -> Iterator[tuple[int, int, int, int]]:
        """(arm, look, start, stop) of each run of columns that belong together."""
        import numpy as np

        code = self.look * 2 + self.treated
        starts = np.flatnonzero(np.diff(code, prepend=-1))
        for start, stop in zip(starts, np.append(starts[1:], len(code))):
            yield int(self.treated[start]), int(self.look[start]), int(start), int(stop)


class Adder:
    """Sums of metric and covariate by arm and look, from parts of experiments."""

    def __init__(self, experiments: int, looks: int, covariate: bool) -> None:
        import numpy as np

        self.sums = np.zeros((2, looks, 6 if covariate else 3, experiments))

    def add(self, arm: int, look: int, y: Floats, x: Floats | None) -> None:
        """Units of one arm and look, shape (experiments, units)."""
        import numpy as np

        cell = self.sums[arm, look]
        cell[0] += y.shape[1]
        cell[1] += y.sum(axis=1)
        cell[2] += np.einsum("ij,ij->i", y, y)
        if x is not None:
            cell[3] += x.sum(axis=1)
            cell[4] += np.einsum("ij,ij->i", x, x)
            cell[5] += np.einsum("ij,ij->i", x, y)

    def arms(self) -> tuple[Arm, Arm]:
        """Control and treated, cumulated over the looks."""
        control, treated = self.sums.cumsum(axis=1).transpose(0, 2, 3, 1)
        return Arm.of(control), Arm.of(treated)


@dataclass(frozen=True, slots=True)
class Experiments:
    """Experiments with two arms, each seen at one or more looks.

    Attributes:
        control, treated: what each arm shows at each look.
        planned: units, both arms together, that the experiment was planned for; fixed before it starts.
        seed: for analyses that draw at random.
        units: the same data unit by unit, made when it is asked for.
        values: the two values of a metric that has only two, such as 0 and 1, in the unit of `Arm.mean`.
    """

    control: Arm
    treated: Arm
    planned: float
    seed: int
    units: Callable[[], Units]
    values: tuple[float, float] | None = None

    @classmethod
    def of(cls, units: Units, looks: int, planned: float, seed: int) -> Experiments:
        """From units."""
        adder = Adder(len(units.y), looks, units.x is not None)
        for arm, look, start, stop in units.cells():
            adder.add(arm, look, units.y[:, start:stop], None if units.x is None else units.x[:, start:stop])
        control, treated = adder.arms()
        return cls(control, treated, planned, seed, lambda: units, two_values(units.y))

    @property
    def shape(self) -> tuple[int, ...]:
        """(experiments, looks)."""
        return self.control.n.shape

    def moved(self, factor: float, shift: float) -> Experiments:
        """The same experiments, with the metric of every treated unit multiplied and shifted."""
        import numpy as np

        def units() -> Units:
            made = self.units()
            moved = made.y * np.where(made.treated, factor, 1.0) + shift * made.treated
            return replace(made, y=moved.astype(made.y.dtype))

        arm = self.treated
        cov = None if arm.cov is None else arm.cov * factor
        treated = replace(arm, mean=arm.mean * factor + shift, var=arm.var * factor**2, cov=cov)
        return replace(self, treated=treated, units=units, values=None)


@dataclass(frozen=True, slots=True)
class Readings:
    """What an analysis says at each look; arrays of shape (experiments, looks), NaN where it cannot say anything yet.

    Attributes:
        effect: treated minus control, in units of the metric.
        low, high: the interval at the analysis' alpha. It "finds an effect" when the interval leaves out 0.
        p: the p-value for no effect.
    """

    effect: Floats
    low: Floats
    high: Floats
    p: Floats

    def shifted(self, effect: float) -> Readings:
        """What is read when `effect` is added to every treated unit, by an analysis that moves with its data."""
        return replace(self, effect=self.effect + effect, low=self.low + effect, high=self.high + effect)

    def moves_with(self, planted: Readings, effect: float) -> bool:
        """Whether `planted`, read from the same data with `effect` added, is this reading shifted by it."""
        import numpy as np

        moved = self.shifted(effect)
        return all(
            np.allclose(ours, theirs, rtol=1e-4, atol=1e-4 * abs(effect), equal_nan=True)
            for ours, theirs in ((moved.low, planted.low), (moved.high, planted.high))
        )

    def found(self) -> NDArray[np.int64]:
        """1 where the interval lies above 0, -1 where it lies below, else 0."""
        return (self.low > 0).astype(int) - (self.high < 0)


def covariate(arm: Arm) -> tuple[Any, Any, Any]:
    """Mean and variance of the covariate, and its covariance with the metric.

    Raises:
        Unfit: there is no covariate.
    """
    if arm.x_mean is None:
        raise Unfit("needs a value of each unit from before the experiment: name its column as 'covariate'")
    return arm.x_mean, arm.x_var, arm.cov
