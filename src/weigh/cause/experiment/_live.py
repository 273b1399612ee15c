"""The table of a real experiment, checked and made ready to be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weigh.cause.experiment._arms import Experiments, Units
from weigh.cause.experiment._history import SPREAD, averaged, filled, refuse_leak, spread_units, standard
from weigh.choice import UsageError, unknown

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from weigh.cause.experiment import Analysis
    from weigh.cause.experiment._arms import Floats

BROKEN = 0.001


class BadExperiment(UsageError):
    """The experiment is broken: no analysis of its metric can be trusted."""


@dataclass(frozen=True, slots=True)
class Arms:
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


def welch() -> Analysis:
    from weigh.cause.experiment.welch import Welch

    return Welch()


def arms_of(frame: pl.DataFrame, arm: str, control: Any, unit: str, metric: str, looks: str) -> Arms:
    """The arms of a table with plain column names (see `weigh.cause.experiment._history.values_of`).

    Raises:
        UsageError: the table is no experiment with two arms; the text says why.
        BadExperiment: units are in both arms.
    """
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
        frame = _by_unit(frame, unit, looks)
    x, day = (frame[name].to_numpy() if name in frame.columns else None for name in ("x", "day"))
    label = next(value for value in values if value != control)
    made = Arms(frame["y"].to_numpy(), x, (frame["arm"] != control).to_numpy(), day, str(control), str(label))
    if min(made.sizes) < 2:
        raise UsageError(
            f"the arms have {made.sizes[0]} and {made.sizes[1]} units, and a single unit shows no variance: bring two "
            "or more for each arm"
        )
    return made


def _by_unit(frame: pl.DataFrame, unit: str, looks: str) -> pl.DataFrame:
    """One row a unit; without its day where that is of its first row only, since its average was not known then.

    Raises:
        UsageError: it is looked at daily, but units have rows on several days.
        BadExperiment: units are in both arms.
    """
    import polars as pl

    spread = spread_units(frame, "arm", "day") if "day" in frame.columns else 0
    if spread and looks == "daily":
        raise UsageError(SPREAD.format(count=spread, unit=unit))
    day = [pl.col("day").min()] if "day" in frame.columns and not spread else []
    made = averaged(frame, "arm", *day)
    if twice := made.filter(pl.col("unit").is_duplicated())["unit"].n_unique():
        raise BadExperiment(f"{twice:,} units of '{unit}' are in both arms: assign each once, by '{unit}'")
    return made


def experiment(
    arms: Arms, metric: str, covariate: str, planned: int, by_day: bool
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
    p = float(welch().analyse(data, BROKEN).p[0, 0])
    if p < BROKEN:
        raise BadExperiment(
            f"the arms differ in '{covariate}' (p = {p:.2g}), which they cannot when it is from before the experiment "
            "and units were assigned at random: check when it was measured, and how units were assigned"
        )
    return p
