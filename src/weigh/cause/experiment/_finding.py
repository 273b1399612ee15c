"""A real experiment, read: first whether it is sound, then what it says."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import Field

from weigh.cause.experiment._arms import Experiments, Readings
from weigh.cause.experiment._history import values_of
from weigh.cause.experiment._live import BROKEN, BadExperiment, arms_of, experiment, welch
from weigh.cause.experiment._srm import SampleRatio, sample_ratio
from weigh.cause.experiment._words import figures, p_value, verdict
from weigh.choice import Frozen, Unfit, UsageError

if TYPE_CHECKING:
    from weigh.cause.experiment import Analysis

ROUNDING = 1e-12
"""Variance, in squared deviations of the metric, that double precision leaves of units that are all the same."""
Found: TypeAlias = Literal["higher", "lower", "nothing"]


class Look(Frozen):
    """What was known at the end of one day."""

    day: int = Field(description="from 1")
    units: int
    effect: float | None
    low: float | None
    high: float | None


class Finding(Frozen):
    """What an experiment says; `effect`, `low` and `high` are treated minus control, in units of the metric.

    The interval of a sequential analysis has no ends (None) as long as the arms show too little to say anything.
    """

    analysis: str
    metric: str
    control: str
    treated: str
    n_control: int
    n_treated: int
    mean_control: float
    mean_treated: float
    effect: float
    low: float | None = Field(description="None: nothing can be said yet")
    high: float | None
    p: float
    alpha: float
    found: Found
    text: str
    sample_ratio: SampleRatio
    covariate_p: float | None = Field(None, description="p-value for equal covariate means, Welch")
    looks: tuple[Look, ...] = Field((), description="day by day, for an analysis that may be read daily")

    def __str__(self) -> str:
        return self.text


def analyse(
    table: Any,
    *,
    metric: str,
    arm: str,
    control: Any,
    by: Analysis | None = None,
    covariate: str = "",
    time: str = "",
    unit: str = "",
    share: float = 0.5,
    alpha: float = 0.05,
    looks: Literal["end", "daily"] = "end",
    planned: int = 0,
) -> Finding:
    """Read an experiment with two arms.

    Args:
        table: a path or an in-memory table with one row a unit, or several rows (see `unit`).
        metric: column of the metric; missing values are refused, since dropping units after assignment biases.
        arm: column that names each unit's arm; two values.
        control: the value of `arm` that is the control.
        by: the analysis; Welch's test when None.
        covariate: column with a value from before the experiment; a missing one counts as average.
        time: column of the arrival; gives `Finding.looks`, unless units have rows on several days.
        unit: column of the unit of randomisation; its rows are averaged. Read daily, a unit's rows are of one day.
        share: planned share of treated units.
        alpha: error rate.
        looks: "daily" when the experiment is read while it runs: needs an analysis that allows it, and `planned`.
        planned: units that the experiment was planned for, both arms together.

    Raises:
        DataError: a column is missing or not what it should be.
        UsageError: the table is no experiment with two arms, or lacks what the analysis needs; the text says why.
        BadExperiment: the arms' sizes, or their covariates, differ by more than chance.
    """
    by = by or welch()
    _refuse_rates(alpha, share)
    _refuse_peeking(by, looks, planned)
    arms = arms_of(values_of(table, metric, covariate, time, unit, arm), arm, control, unit, metric, looks)
    ratio = sample_ratio(arms.sizes, (1 - share, share), alpha=BROKEN, repeated=looks == "daily")
    if not ratio.ok:
        raise BadExperiment(f"the sample ratio is off: {ratio}; find what loses units of one arm, and run it again")
    data, deviation, covariate_p = experiment(arms, metric, covariate, planned, arms.day is not None and by.any_time)
    try:
        read = by.analyse(data, alpha)
    except Unfit as reason:
        raise UsageError(f"you read the experiment by {by.spec}, which cannot serve it: {reason}") from None
    effect, low, high = (_finite(float(values[0, -1]) * deviation) for values in (read.effect, read.low, read.high))
    varies = max(data.control.var[0, -1], data.treated.var[0, -1]) > ROUNDING
    if effect is None or math.isnan(read.low[0, -1]) or not varies:
        raise UsageError(f"'{metric}' does not vary within the arms, which leaves no error to judge by: read it later")
    found: Found = "higher" if (low or 0) > 0 else "lower" if (high or 0) < 0 else "nothing"
    p, control_mean = float(read.p[0, -1]), float(arms.y[~arms.treated].mean())
    said = f"{figures(effect, low, high, control_mean)}, {p_value(p)}, {100 * (1 - alpha):.4g}% interval by {by.spec}"
    return Finding(
        analysis=by.spec, metric=metric, control=arms.control, treated=arms.label, n_control=arms.sizes[0],
        n_treated=arms.sizes[1], mean_control=control_mean, mean_treated=float(arms.y[arms.treated].mean()),
        effect=effect, low=low, high=high, p=p, alpha=alpha, found=found,
        text=f"{verdict(metric, arms.control, arms.label, found)}: {said}",
        sample_ratio=ratio, covariate_p=covariate_p, looks=_looks(data, read, deviation),
    )  # fmt: skip


def _refuse_rates(alpha: float, share: float) -> None:
    if not 0 < alpha < 0.5:
        raise UsageError(
            f"you gave alpha={alpha:g}, the chance of a false finding: type one between 0 and 0.5, often 0.05"
        )
    if not 0 < share < 1:
        raise UsageError(f"you gave share={share:g}, the planned share of treated units: type one between 0 and 1")


def _refuse_peeking(by: Analysis, looks: str, planned: int) -> None:
    if looks == "end":
        return
    if not by.any_time:
        raise UsageError(
            f"you read the experiment daily by {by.spec}, which promises its error rate for one look only: pass "
            "by=Sequential() (from weigh.cause.experiment.sequential), or looks='end' and read it once"
        )
    if planned <= 0:
        raise UsageError(
            "an experiment that is read daily needs its planned size, fixed before it began: pass planned=20000"
        )


def _looks(data: Experiments, read: Readings, deviation: float) -> tuple[Look, ...]:
    """Day by day; none for an experiment that was read at once."""
    days = data.shape[1]
    if days == 1:
        return ()
    n = data.control.n[0] + data.treated.n[0]
    columns = [
        [_finite(float(value) * deviation) for value in values[0]] for values in (read.effect, read.low, read.high)
    ]
    return tuple(
        Look(day=day + 1, units=int(n[day]), effect=effect, low=low, high=high)
        for day, (effect, low, high) in enumerate(zip(*columns))
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
