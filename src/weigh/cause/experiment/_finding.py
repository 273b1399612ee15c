"""A real experiment, read: first whether it is sound, then what it says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from weigh.cause.experiment._arms import Experiments, Readings, Units
from weigh.cause.experiment._history import averaged, filled, refuse_leak, standard, values_of
from weigh.cause.experiment._srm import SampleRatio, sample_ratio
from weigh.choice import Frozen, UsageError, unknown

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from weigh.cause.experiment import Analysis
    from weigh.cause.experiment._arms import Floats

BROKEN = 0.001


class BadExperiment(UsageError):
    """The experiment is broken: no analysis of its metric can be trusted."""


class Look(Frozen):
    """What was known at the end of one day."""

    day: int = Field(description="from 1")
    units: int
    effect: float | None
    low: float | None
    high: float | None


class Finding(Frozen):
    """What an experiment says; `effect`, `low` and `high` are treated minus control, in units of the metric."""

    analysis: str
    metric: str
    control: str
    treated: str
    n_control: int
    n_treated: int
    mean_control: float
    mean_treated: float
    effect: float
    low: float
    high: float
    p: float
    alpha: float
    found: Literal["higher", "lower", "nothing"]
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
        time: column of the arrival; gives `Finding.looks`.
        unit: column of the unit of randomisation; its rows are averaged.
        share: planned share of treated units.
        alpha: error rate.
        looks: "daily" when the experiment is read while it runs: needs an analysis that allows it, and `planned`.
        planned: units that the experiment was planned for, both arms together.

    Raises:
        DataError: a column is missing or not what it should be.
        UsageError: the table is no experiment with two arms; the text says why.
        BadExperiment: the arms' sizes, or their covariates, differ by more than chance.
    """
    by = by or _welch()
    _refuse_peeking(by, looks, planned)
    arms = _arms(values_of(table, metric, covariate, time, unit, arm), arm, control, unit, metric)
    ratio = sample_ratio(arms.sizes, (1 - share, share), alpha=BROKEN, repeated=looks == "daily")
    if not ratio.ok:
        raise BadExperiment(f"the sample ratio is off: {ratio}; find what loses units of one arm, and run it again")
    data, deviation, covariate_p = _experiment(arms, metric, covariate, planned, bool(time) and by.any_time)
    read = by.analyse(data, alpha)
    effect, low, high = (float(values[0, -1]) * deviation for values in (read.effect, read.low, read.high))
    found: Literal["higher", "lower", "nothing"] = "higher" if low > 0 else "lower" if high < 0 else "nothing"
    p = float(read.p[0, -1])
    figures = f"{effect:+.4g} [{low:+.4g}, {high:+.4g}], p = {p:.2g}, {1 - alpha:.0%} interval by {by.spec}"
    return Finding(
        analysis=by.spec, metric=metric, control=arms.control, treated=arms.label, n_control=arms.sizes[0],
        n_treated=arms.sizes[1], mean_control=float(arms.y[~arms.treated].mean()),
        mean_treated=float(arms.y[arms.treated].mean()), effect=effect, low=low, high=high, p=p, alpha=alpha,
        found=found, text=f"{_said(metric, arms, found)}: {figures}",
        sample_ratio=ratio, covariate_p=covariate_p, looks=_looks(data, read, deviation),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Arms:
    """The units of an experiment: metric, whether treated, and if asked for the covariate and the day."""

    y: Floats
    x: Floats | None
    treated: NDArray[np.bool_]
    day: NDArray[np.int64] | None
    control: str
    label: str

    @property
    def sizes(self) -> tuple[int, int]:
        treated = int(self.treated.sum())
        return len(self.treated) - treated, treated


def _welch() -> Analysis:
    from weigh.cause.experiment.welch import Welch

    return Welch()


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


def _arms(frame: pl.DataFrame, arm: str, control: Any, unit: str, metric: str) -> _Arms:
    import polars as pl

    values = frame["arm"].unique().sort().to_list()
    if control not in values:
        near = unknown("arm", str(control), [str(value) for value in values], f"in '{arm}'")
        raise UsageError(f"you gave control={control!r}: {near}")
    if len(values) != 2:
        raise UsageError(
            f"'{arm}' names {len(values)} arms ({', '.join(map(str, values))}): filter the table to two of them"
        )
    if missing := frame["y"].null_count():
        raise UsageError(
            f"{missing:,} rows have no '{metric}': dropping units after they were assigned biases the effect; fill in "
            "what they did (often 0), or choose a metric that every unit has"
        )
    if unit:
        frame = averaged(frame, "arm", *([pl.col("day").min()] if "day" in frame.columns else []))
        if twice := frame.filter(pl.col("unit").is_duplicated())["unit"].n_unique():
            raise BadExperiment(f"{twice:,} units of '{unit}' are in both arms: assign each once, by '{unit}'")
    x, day = (frame[name].to_numpy() if name in frame.columns else None for name in ("x", "day"))
    label = next(value for value in values if value != control)
    return _Arms(frame["y"].to_numpy(), x, (frame["arm"] != control).to_numpy(), day, str(control), str(label))


def _experiment(
    arms: _Arms, metric: str, covariate: str, planned: int, by_day: bool
) -> tuple[Experiments, float, float | None]:
    """One experiment in standardised units, the metric's deviation, and the p-value for equal covariate means."""
    import numpy as np

    y, _, deviation = standard(arms.y, metric)
    x, balance = None, None
    if arms.x is not None:
        x = standard(filled(arms.x, covariate), covariate)[0]
        refuse_leak(float(np.mean(x * y)), covariate, metric)
        balance = _balance(x, arms.treated, covariate)
    day = arms.day - arms.day.min() if by_day and arms.day is not None else np.zeros(len(y), dtype=np.int64)
    return _one(y, x, arms.treated, day, planned), deviation, balance


def _one(y: Floats, x: Floats | None, treated: NDArray[np.bool_], day: NDArray[np.int64], planned: int) -> Experiments:
    """One experiment, its units in random order within arm and day."""
    import numpy as np

    order = np.random.default_rng(0).permutation(len(y))
    order = order[np.lexsort((day[order], treated[order]))]
    units = Units(y[None, order], None if x is None else x[None, order], treated[order], day[order])
    return Experiments.of(units, int(day.max()) + 1, float(planned or len(y)), 0)


def _balance(x: Floats, treated: NDArray[np.bool_], covariate: str) -> float:
    """The p-value of Welch's test on what must not differ.

    Raises:
        BadExperiment: it does.
    """
    import numpy as np

    data = _one(x, None, treated, np.zeros(len(x), dtype=np.int64), 0)
    p = float(_welch().analyse(data, BROKEN).p[0, 0])
    if p < BROKEN:
        raise BadExperiment(
            f"the arms differ in '{covariate}' (p = {p:.2g}), which they cannot when it is from before the experiment "
            "and units were assigned at random: check when it was measured, and how units were assigned"
        )
    return p


def _said(metric: str, arms: _Arms, found: str) -> str:
    if found == "nothing":
        return f"no difference in {metric} between {arms.label} and {arms.control} was found"
    return f"{metric} is {found} under {arms.label} than under {arms.control}"


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
