"""The difference of two arms with its standard error: plain, or adjusted for a covariate; and Student's interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from weigh.cause.experiment._arms import Experiments, Readings, covariate

if TYPE_CHECKING:
    from weigh.cause.experiment._arms import Floats


@dataclass(frozen=True, slots=True)
class Difference:
    """Treated minus control at each look, its standard error, and the error's degrees of freedom (Satterthwaite)."""

    effect: Floats
    se: Floats
    df: Floats


def difference(data: Experiments, adjust: bool = False) -> Difference:
    """The difference in means; with `adjust`, after taking out what the covariate explains.

    The slope is pooled within the arms (so that an effect cannot leak into it), which makes the adjusted difference the
    coefficient of ordinary least squares on arm and covariate; its variance pays for the slope like OLS does.

    Raises:
        Unfit: `adjust` without a covariate.
    """
    import numpy as np

    control, treated = data.control, data.treated
    with np.errstate(invalid="ignore", divide="ignore"):
        if not adjust:
            return _welch(treated.mean - control.mean, control.var, treated.var, data)
        x0, xx0, xy0 = covariate(control)
        x1, xx1, xy1 = covariate(treated)
        spread = (control.n - 1) * xx0 + (treated.n - 1) * xx1
        slope = ((control.n - 1) * xy0 + (treated.n - 1) * xy1) / spread
        total = control.n + treated.n
        fee = np.where(total > 3, (total - 2) / (total - 3), np.nan)
        left0, left1 = (
            np.maximum(arm.var - 2 * slope * xy + slope**2 * xx, 0.0) * fee
            for arm, xx, xy in ((control, xx0, xy0), (treated, xx1, xy1))
        )
        pooled = ((control.n - 1) * left0 + (treated.n - 1) * left1) / (total - 2)
        effect = treated.mean - control.mean - slope * (x1 - x0)
        return _welch(effect, left0, left1, data, pooled * (x1 - x0) ** 2 / spread, 1)


def _welch(
    effect: Floats, var0: Floats, var1: Floats, data: Experiments, extra: Floats | float = 0.0, slopes: int = 0
) -> Difference:
    import numpy as np

    n0, n1 = data.control.n, data.treated.n
    part0, part1 = var0 / n0, var1 / n1
    df = (part0 + part1) ** 2 / (part0**2 / (n0 - 1) + part1**2 / (n1 - 1)) - slopes
    return Difference(effect, np.sqrt(part0 + part1 + extra), df)


def student(made: Difference, alpha: float) -> Readings:
    """Student's t interval and two-sided p-value."""
    import numpy as np
    from scipy import special

    with np.errstate(invalid="ignore", divide="ignore"):
        half = quantile(made.df, 1 - alpha / 2) * made.se
        p = 2 * special.stdtr(made.df, -np.abs(made.effect) / made.se)
    return Readings(made.effect, made.effect - half, made.effect + half, p)


def quantile(df: Floats, level: float) -> Floats:
    """Student's t quantile for many degrees of freedom at once, to ten digits.

    SciPy needs two microseconds for each. The quantile is smooth in 1 / df, so where there are many it is interpolated
    between Chebyshev nodes.
    """
    import numpy as np
    from numpy.polynomial import Chebyshev
    from scipy import special

    smooth = df >= 5
    if np.count_nonzero(smooth) < 200 or df[smooth].min() == df[smooth].max():
        return np.asarray(special.stdtrit(df, level))
    inverse = 1.0 / np.where(smooth, df, df[smooth].max())
    curve = Chebyshev.interpolate(lambda u: special.stdtrit(1.0 / u, level), 14, [inverse.min(), inverse.max()])
    made = np.asarray(curve(inverse))
    made[~smooth] = special.stdtrit(df[~smooth], level)
    return made
