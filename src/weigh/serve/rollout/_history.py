"""The requests of the past, as a replay draws them: tick by tick, each from the time of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weigh.choice import UsageError
from weigh.data import require

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.serve.rollout import RolloutTask

    Floats = NDArray[np.float64]

DAY = 86_400.0
LEAST = 20
"""Requests in a tick, on average, below which nothing can be replayed."""


@dataclass(frozen=True, slots=True)
class History:
    """Past requests in order of time.

    Attributes:
        time: seconds since the first request, shape (n,).
        values: by metric, shape (n,) each: `error` (0 or 1), `latency` (ms), and the task's own.
    """

    time: Floats
    values: dict[str, Floats]

    def span(self, start: float, stop: float) -> tuple[int, int]:
        """First and last row between two times, in seconds."""
        import numpy as np

        first, last = np.searchsorted(self.time, [start, stop])
        return int(first), int(last)


def load(task: RolloutTask) -> History:
    """Read and check the history of a task.

    Raises:
        DataError: a column is missing, or not what it should be.
        UsageError: the history is too short, or a value lies out of its range.
    """
    import numpy as np
    import polars as pl

    named = {"error": task.error, "latency": task.latency, task.metric: task.metric}
    columns = {name: column for name, column in named.items() if column}
    lazy = require(task.history, columns=[task.time, *columns.values()], numeric=list(columns.values()))
    frame = lazy.select([task.time, *dict.fromkeys(columns.values())]).drop_nulls().sort(task.time).collect()
    clock: Any = frame[task.time]
    if not clock.dtype.is_numeric():
        clock = clock.cast(pl.Datetime("us")).cast(pl.Int64) / 1e6
    time = clock.to_numpy().astype(np.float64)
    values = {name: frame[column].cast(pl.Float64).to_numpy() for name, column in columns.items()}
    _check(task, time, values)
    return History(time - time[0], values)


def _check(task: RolloutTask, time: Floats, values: dict[str, Floats]) -> None:
    if not values:
        raise UsageError("nothing of a request is replayed: name the column of its error, its latency or a metric")
    days = float(time[-1] - time[0]) / DAY if time.size else 0.0
    if days < task.days:
        raise UsageError(
            f"the history has {days:.3g} days, a release has {task.days:g}: type days={max(days, 0.001):.2g} or less"
        )
    each = time.size * task.days / days * task.scale / task.ticks
    if each < LEAST:
        raise UsageError(
            f"a tick has {each:.1f} requests on average, at least {LEAST} are needed: type fewer ticks, or scale"
        )
    ends = {"error": (0.0, 1.0), "latency": (0.0, 1e9), task.metric: (task.low, task.high)}
    for name, column in values.items():
        low, high = ends[name]
        if not (column.min() >= low and column.max() <= high):
            raise UsageError(
                f"'{name}' goes from {column.min():g} to {column.max():g}, where [{low:g}, {high:g}] was stated"
                + ("; type low=... and high=..." if name == task.metric else "")
            )
