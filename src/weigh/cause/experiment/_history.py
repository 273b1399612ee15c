"""The user's history, cut into periods as long as an experiment, ready to be replayed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weigh.cause.experiment._plant import Plant, plant
from weigh.choice import UsageError
from weigh.data import require

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from weigh.cause.experiment import ExperimentTask

LEAST_UNITS = 40
LEAK = 0.999


@dataclass(frozen=True, slots=True)
class History:
    """Past units, sorted by period and day; a period is as long as an experiment.

    Attributes:
        y, x: metric and covariate by unit, standardised; x is None without a covariate.
        starts, counts: first row and number of rows by period and day; one period of one day when days are not known.
        mean, deviation: of the metric, in its own unit.
        correlation: of metric and covariate.
        plant: how effects are planted.
        spread: whether some units have rows on several days of a period, so that their averages are not known before.
        left_out: rows that are not used, in words.
    """

    y: NDArray[np.float32]
    x: NDArray[np.float32] | None
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    mean: float
    deviation: float
    correlation: float | None
    plant: Plant
    spread: bool
    left_out: str

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Units by period."""
        return self.counts.sum(axis=1)

    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Sums over all rows before each: of the metric, and of the units above `plant.base`."""
        import numpy as np

        parts = (self.y, self.y > self.plant.base)
        y, above = (np.concatenate([[0.0], np.cumsum(part, dtype=np.float64)]) for part in parts)
        return y, above


def load(task: ExperimentTask) -> History:
    """Read, check, standardise and cut the history of a task.

    Raises:
        DataError: a column is missing, or not what it should be.
        UsageError: the history holds nothing to experiment on; the text says why.
    """
    import numpy as np

    frame, notes, spread = units_of(task)
    if spread and task.looks == "daily":
        raise UsageError(SPREAD.format(count=spread, unit=task.unit))
    y, mean, deviation = standard(frame["y"].to_numpy(), task.metric)
    planting = plant(task.plant, task.relative, y, mean, deviation, task.metric)
    x, correlation = None, None
    if task.covariate:
        x = standard(filled(frame["x"].to_numpy(), task.covariate), task.covariate)[0].astype(np.float32)
        correlation = float(np.mean(x * y))
        refuse_leak(correlation, task.covariate, task.metric)
    days = task.days if task.time else 1
    cell = frame["period"].to_numpy() * days + frame["look"].to_numpy()
    counts = np.bincount(cell, minlength=(cell.max() // days + 1) * days).reshape(-1, days)
    starts = (counts.cumsum() - counts.ravel()).reshape(counts.shape)
    large = counts.sum(axis=1) >= LEAST_UNITS
    if not large.any():
        raise UsageError(
            f"you gave a history with at most {counts.sum(axis=1).max()} units in {task.days} days, but an experiment "
            f"needs {LEAST_UNITS} or more: bring a larger history, or raise days"
        )
    if not large.all():
        notes.append(f"{(~large).sum()} periods of under {LEAST_UNITS} units")
    left_out = " and ".join(notes)
    return History(
        y.astype(np.float32),
        x,
        starts[large],
        counts[large],
        mean,
        deviation,
        correlation,
        planting,
        spread > 0,
        left_out,
    )


def units_of(task: ExperimentTask) -> tuple[pl.DataFrame, list[str], int]:
    """One row a unit, sorted by period and day, in words what was left out, and how many units have rows on more days.

    Columns: `y`, `x`, `period` (of `days` days, counted back from the end) and `look` (the day in it). A unit with
    several rows in a period counts from the day of its first, with the average of them.
    """
    import polars as pl

    every = values_of(task.history, task.metric, task.covariate, task.time, task.unit)
    if task.time:
        frame = _into_periods(every, task.time, task.days)
    else:
        frame = every.with_columns(pl.lit(0).alias("period"), pl.lit(0).alias("look"))
    whole = frame.filter(pl.col("y").is_not_null())
    notes = []
    if early := every.height - frame.height:
        notes.append(f"{early:,} rows before the first whole period")
    if missing := frame.height - whole.height:
        notes.append(f"{missing:,} rows without {task.metric}")
    spread = 0
    if task.unit:
        spread = spread_units(whole, "period", "look")
        whole = averaged(whole, "period", pl.col("look").min())
    return whole.sort("period", "look", maintain_order=True), notes, spread


SPREAD = (
    "you look daily, but {count:,} units of '{unit}' have rows on several days, and a look must not read the rows that "
    "come after it: give each unit one row, with its metric over a fixed time after it came (its first 7 days), or "
    "type looks=end"
)


def spread_units(frame: pl.DataFrame, within: str, day: str) -> int:
    """How many units have rows on several days."""
    import polars as pl

    days = frame.group_by(within, "unit").agg(pl.col(day).n_unique())
    return int((days[day] > 1).sum())


def averaged(frame: pl.DataFrame, within: str, *others: pl.Expr) -> pl.DataFrame:
    """One row a unit and value of `within`: averages of `y` and `x`, and what else is asked for."""
    import polars as pl

    averages = [pl.col(name).mean() for name in ("y", "x") if name in frame.columns]
    return frame.group_by(within, "unit", maintain_order=True).agg(*averages, *others)


def values_of(
    table: Any, metric: str, covariate: str = "", time: str = "", unit: str = "", arm: str = ""
) -> pl.DataFrame:
    """The wanted columns under plain names (`y`, `x`, `day`, `unit`, `arm`), NaN as null, checked.

    Raises:
        DataError, UsageError: a column is missing, not a number, not a time, infinite, or the metric itself.
    """
    import polars as pl

    if covariate and covariate == metric:
        raise UsageError(f"you gave '{covariate}' both as the metric and as the covariate: {_BEFORE}")
    numeric = [name for name in (metric, covariate) if name]
    frame = require(table, columns=[name for name in (time, unit, arm) if name], numeric=numeric)
    whole = bool(time) and frame.collect_schema()[time].is_integer()
    if time and not whole:
        require(table, times=[time])
    named = {"y": metric, "x": covariate}
    wanted = [pl.col(name).cast(pl.Float64).fill_nan(None).alias(key) for key, name in named.items() if name]
    if time:
        wanted.append((pl.col(time) if whole else pl.col(time).cast(pl.Date).to_physical()).cast(pl.Int64).alias("day"))
    wanted += [pl.col(name).alias(key) for key, name in {"unit": unit, "arm": arm}.items() if name]
    made = frame.select(wanted).collect(engine="streaming")
    _refuse_holes(made, {**named, "day": time, "unit": unit, "arm": arm})
    return made


def _refuse_holes(frame: pl.DataFrame, named: dict[str, str]) -> None:
    for key, name in named.items():
        if not name:
            continue
        if key in ("y", "x") and frame[key].is_infinite().any():
            raise UsageError(f"'{name}' holds infinite values, which have no mean: clip or drop them")
        if key not in ("y", "x") and frame[key].null_count():
            fix = ASSIGNED if key == "arm" else "drop them, or fill it in"
            raise UsageError(f"{frame[key].null_count():,} rows have no '{name}': {fix}")


def _into_periods(frame: pl.DataFrame, time: str, days: int) -> pl.DataFrame:
    import polars as pl

    first, last = frame["day"].min(), frame["day"].max()
    span = last - first + 1  # type: ignore[operator]
    if span < days:
        raise UsageError(
            f"the history spans {span} days by '{time}', the experiment {days}: set days={span} or less, or bring more"
        )
    back = last - pl.col("day")
    frame = frame.with_columns((back // days).alias("period"), (days - 1 - back % days).alias("look"))
    return frame.filter(pl.col("period") < span // days)


ASSIGNED = (
    "find out which arm each was assigned to and fill it in (dropping units after they were assigned biases the "
    "effect; drop only those that were never part of the experiment)"
)
_BEFORE = "the covariate must be a value from before the experiment, which no treatment can have changed"


def standard(values: NDArray[np.float64], name: str) -> tuple[NDArray[np.float64], float, float]:
    """Values with mean 0 and standard deviation 1, and what those were.

    Raises:
        UsageError: there are fewer than two values, or all are equal.
    """
    if len(values) < 2:
        raise UsageError(f"you gave {len(values)} unit with a value of '{name}': an experiment compares many")
    mean, deviation = float(values.mean()), float(values.std())
    if deviation <= 1e-12 * max(1.0, abs(mean)):
        raise UsageError(f"'{name}' is {mean:g} for every unit: nothing varies, so there is nothing to compare")
    return (values - mean) / deviation, mean, deviation


def filled(values: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Units without a past get the average past: harmless, since assignment cannot depend on it.

    Raises:
        UsageError: no unit has one.
    """
    import numpy as np

    if np.isnan(values).all():
        raise UsageError(f"no unit that has the metric has a value of '{name}': leave the covariate out")
    return np.where(np.isnan(values), np.nanmean(values), values)


def refuse_leak(correlation: float, covariate: str, metric: str) -> None:
    """Raise `UsageError` when the covariate is the metric under another name."""
    if abs(correlation) > LEAK:
        raise UsageError(f"'{covariate}' says the same as '{metric}' (correlation {correlation:.4f}): {_BEFORE}")
