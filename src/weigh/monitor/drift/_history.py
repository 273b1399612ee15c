"""The user's table as arrays, in order of time: numbers as they are, categories as codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weigh.data import DataError, read, scan
from weigh.data.table import need_columns
from weigh.monitor.drift import DriftTask
from weigh.monitor.drift._sample import Sample

if TYPE_CHECKING:
    import polars as pl

    from weigh.monitor.drift._sample import Floats, Ints

LEVELS = 30
"""Most frequent levels of a category that keep a code of their own; all others share one."""


@dataclass(frozen=True, slots=True)
class History:
    """Every row that is held; `numbers` and `codes` have one array row a table row, for quick draws.

    Attributes:
        number_names: what the columns of `numbers` are.
        category_names: what the columns of `codes` are.
        levels: how many codes each category has, 0 for missing included.
        moments: when each row was, as text; positions where the task names no time.
        unwatched: columns that are not watched, and why.
    """

    numbers: Floats
    codes: Ints
    number_names: tuple[str, ...]
    category_names: tuple[str, ...]
    levels: tuple[int, ...]
    moments: pl.Series
    unwatched: dict[str, str]

    @property
    def rows(self) -> int:
        """How many rows are held."""
        return len(self.numbers)

    def sample(self, rows: Any, seed: int = 0) -> Sample:
        """Some rows, by position."""
        import numpy as np

        numbers = np.ascontiguousarray(self.numbers.take(rows, axis=0).T)
        return Sample(numbers, np.ascontiguousarray(self.codes.take(rows, axis=0).T), self.levels, seed)


def history_of(task: DriftTask) -> History:
    """Read and encode the columns of a task.

    Raises:
        DataError: the table cannot be watched; the text says why and what to change.
    """
    import numpy as np

    frame = _frame(task)
    order = frame[task.time] if task.time else None
    kept: dict[str, Floats | tuple[Ints, int]] = {}
    unwatched: dict[str, str] = {}
    for series in frame:
        encoded = "it orders the history" if series.name == task.time else _encoded(series)
        if isinstance(encoded, str):
            unwatched[series.name] = encoded
        else:
            kept[series.name] = encoded
    _check_columns(task, kept, unwatched)
    numbers = {name: column for name, column in kept.items() if not isinstance(column, tuple)}
    categories = {name: column for name, column in kept.items() if isinstance(column, tuple)}
    nothing = np.empty((frame.height, 0))
    return History(
        numbers=np.stack(list(numbers.values()), axis=1) if numbers else nothing,
        codes=np.stack([codes for codes, _ in categories.values()], axis=1) if categories else nothing.astype(np.int64),
        number_names=tuple(numbers),
        category_names=tuple(categories),
        levels=tuple(levels for _, levels in categories.values()),
        moments=_moments(order, frame.height),
        unwatched=unwatched,
    )


def _frame(task: DriftTask) -> pl.DataFrame:
    """The rows that are held, sorted; only the wanted columns are read."""
    import polars as pl

    wanted = [*dict.fromkeys([*task.columns, *([task.time] if task.time else [])])] if task.columns else None
    frame = scan(task.history, wanted)
    if task.time:
        need_columns(frame, [task.time])
    height = read(frame.select(pl.len())).item()
    if not height:
        raise DataError(f"You gave {task.history}, a table without rows: check the filter or the query that made it.")
    if height > task.rows:
        frame = frame.filter(pl.int_range(pl.len()).shuffle(seed=0) < task.rows)
    held = read(frame)
    return _sorted(held, task.time) if task.time else held


def _sorted(held: pl.DataFrame, time: str) -> pl.DataFrame:
    order = held[time]
    if not (order.dtype.is_temporal() or order.dtype.is_numeric()):
        raise DataError(
            f"You gave {time!r} as the time, but it is {order.dtype}: convert it "
            f'(frame.with_columns(pl.col("{time}").str.to_datetime())), or leave `time` empty where rows lie in order.'
        )
    if order.null_count():
        raise DataError(f"You gave {time!r} as the time, but {order.null_count():,} rows have none: leave them out.")
    return held.sort(time, maintain_order=True)


def _moments(order: pl.Series | None, height: int) -> pl.Series:
    import polars as pl

    if order is None:
        return pl.int_range(height, eager=True).cast(pl.String)
    return order.dt.strftime("%Y-%m-%d %H:%M") if order.dtype.is_temporal() else order.cast(pl.String)


def _encoded(series: pl.Series) -> Floats | tuple[Ints, int] | str:
    """A column as numbers or as codes and their count; or why it cannot be watched."""
    import polars as pl

    if series.dtype.is_numeric():
        return _numbers(series)
    if series.dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum):
        return _codes(series.cast(pl.String))
    if series.dtype == pl.Null:
        return "it holds no value"
    return f"its type, {series.dtype}, is neither a number nor a category"


def _numbers(series: pl.Series) -> Floats | str:
    import numpy as np
    import polars as pl

    column = series.cast(pl.Float64).fill_null(float("nan")).to_numpy(writable=True)
    column[np.isinf(column)] = np.nan
    there = column[~np.isnan(column)]
    if not there.size:
        return "it holds no value"
    if there.min() == there.max():
        return f"it is {there[0]:g} in every row that has a value: there is no spread to judge a change by"
    return column


def _codes(series: pl.Series) -> tuple[Ints, int] | str:
    import numpy as np

    counts = series.drop_nulls().value_counts(sort=False).sort("count", series.name, descending=[True, False])
    if not counts.height:
        return "it holds no value"
    if counts.height == 1 and not series.null_count():
        return f"it is {counts[series.name][0]!r} in every row: there is no mix to judge a change by"
    if counts.height > series.len() / 2:
        return "it is different in nearly every row: a key or a text, no category"
    levels = min(counts.height, LEVELS + 1) + 1
    codes = np.minimum(np.arange(counts.height) + 1, levels - 1)
    found = series.replace_strict(counts[series.name], codes, default=0).to_numpy()
    return found.astype(np.int64), levels


def _check_columns(task: DriftTask, kept: dict[str, Any], unwatched: dict[str, str]) -> None:
    refused = [name for name in task.columns if name in unwatched]
    if refused:
        raise DataError(f"You asked to watch {refused[0]!r}, but {unwatched[refused[0]]}: leave it out of `columns`.")
    if not kept:
        reasons = "; ".join(f"{name!r}: {reason}" for name, reason in list(unwatched.items())[:5])
        raise DataError(
            f"You gave {task.history}, which has no column to watch ({reasons}): add one of numbers or categories."
        )
