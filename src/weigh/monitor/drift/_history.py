"""The user's table as arrays, in order of time: numbers as they are, categories as codes."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from weigh.data import DataError, read, scan_whole
from weigh.data.table import need_columns
from weigh.monitor.drift import DriftTask
from weigh.monitor.drift._sample import Sample

if TYPE_CHECKING:
    import polars as pl

    from weigh.monitor.drift._sample import Floats, Ints

LEVELS = 30
"""Most frequent levels of a category that keep a code of their own; all others share one."""
COVERED = 0.2
"""Share of the rows that these levels must cover, or the column is a key or a text."""


class Codes(NamedTuple):
    """A category: a code for each row, how many codes there are, and what each level became."""

    codes: Ints
    levels: int
    of: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class History:
    """Every row that is held; `numbers` and `codes` have one array row a table row, for quick draws.

    Attributes:
        number_names: what the columns of `numbers` are.
        category_names: what the columns of `codes` are.
        levels: how many codes each category has, 0 for missing included.
        codes_of: of each category, the code of each level.
        moments: when each row was, as text; positions where the task names no time.
        unwatched: columns that are not watched, and why.
    """

    numbers: Floats
    codes: Ints
    number_names: tuple[str, ...]
    category_names: tuple[str, ...]
    levels: tuple[int, ...]
    codes_of: tuple[Mapping[str, int], ...]
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

    @property
    def names(self) -> tuple[str, ...]:
        """The columns in the order of scores: numbers, then categories."""
        return self.number_names + self.category_names

    def still(self, rows: Any) -> set[str]:
        """The number columns that have one value in these rows, or none."""
        import numpy as np

        numbers = self.numbers[rows]
        there = ~np.isnan(numbers)
        varies = np.where(there, numbers, -np.inf).max(axis=0) > np.where(there, numbers, np.inf).min(axis=0)
        return {name for name, moves in zip(self.number_names, varies) if not moves}

    def part(self, rows: Any) -> History:
        """Only the rows that a mask marks."""
        return replace(self, numbers=self.numbers[rows], codes=self.codes[rows], moments=self.moments.filter(rows))

    def without(self, names: Container[str], why: str) -> History:
        """Not watching these columns."""
        numbers = [place for place, name in enumerate(self.number_names) if name not in names]
        codes = [place for place, name in enumerate(self.category_names) if name not in names]
        return replace(
            self,
            numbers=self.numbers[:, numbers],
            codes=self.codes[:, codes],
            number_names=tuple(self.number_names[place] for place in numbers),
            category_names=tuple(self.category_names[place] for place in codes),
            levels=tuple(self.levels[place] for place in codes),
            codes_of=tuple(self.codes_of[place] for place in codes),
            unwatched=self.unwatched | {name: why for name in self.names if name in names},
        )

    def encoded(self, table: Any, seed: int = 0) -> Sample:
        """Another table's rows; of a category's levels, those that the history lacks share the code of rare ones.

        Raises:
            DataError: the table lacks a column, or one is not of numbers.
        """
        import numpy as np

        frame = read(table, list(self.names))
        wrong = [name for name in self.number_names if not frame[name].dtype.is_numeric()]
        if wrong:
            raise DataError(
                f"You gave {wrong[0]!r} as {frame[wrong[0]].dtype}, but the history holds numbers there: cast it."
            )
        numbers = [_floats(frame[name]) for name in self.number_names]
        columns = zip(self.category_names, self.codes_of, self.levels)
        codes = [_coded(frame[name], known, min(levels - 1, LEVELS + 1)) for name, known, levels in columns]
        return Sample(
            np.array(numbers, dtype=float).reshape(len(numbers), frame.height),
            np.array(codes, dtype=np.int64).reshape(len(codes), frame.height),
            self.levels,
            seed,
        )


def history_of(task: DriftTask) -> History:
    """Read and encode the columns of a task.

    Raises:
        DataError: the table cannot be watched; the text says why and what to change.
    """
    import numpy as np

    frame = _frame(task)
    order = frame[task.time] if task.time else None
    kept: dict[str, Floats | Codes] = {}
    unwatched: dict[str, str] = {}
    for series in frame:
        encoded = "it orders the history" if series.name == task.time else _encoded(series, task)
        if isinstance(encoded, str):
            unwatched[series.name] = encoded
        else:
            kept[series.name] = encoded
    _check_columns(task, kept, unwatched)
    numbers = {name: column for name, column in kept.items() if not isinstance(column, Codes)}
    categories = {name: column for name, column in kept.items() if isinstance(column, Codes)}
    nothing = np.empty((frame.height, 0))
    return History(
        numbers=np.stack(list(numbers.values()), axis=1) if numbers else nothing,
        codes=np.stack([one.codes for one in categories.values()], axis=1) if categories else nothing.astype(np.int64),
        number_names=tuple(numbers),
        category_names=tuple(categories),
        levels=tuple(one.levels for one in categories.values()),
        codes_of=tuple(one.of for one in categories.values()),
        moments=_moments(order, frame.height),
        unwatched=unwatched,
    )


def _frame(task: DriftTask) -> pl.DataFrame:
    """The rows that are held, sorted; only the wanted columns are read."""
    import polars as pl

    time = [task.time] if task.time else []
    frame = scan_whole(task.history, [*dict.fromkeys([*task.columns, *time])] if task.columns else None)
    need_columns(frame, [*time, *task.categories])
    height = read(frame.select(pl.len())).item()
    if not height:
        raise DataError(f"You gave {task.history}, a table without rows: check the filter or the query that made it.")
    if height > task.rows:
        place = "".join(frame.collect_schema().names()) + " place"  # a name that no column has
        frame = frame.with_row_index(place).filter(pl.col(place).is_in(_held(frame, task, height))).drop(place)
    held = read(frame)
    return _sorted(held, task.time) if task.time else held


def _held(frame: pl.LazyFrame, task: DriftTask, height: int) -> pl.Series:
    """Which rows of a table that is longer than `rows` are read: the latest, or any where rows have no order."""
    import numpy as np
    import polars as pl

    if not task.time:
        return pl.Series(np.random.default_rng(0).choice(height, task.rows, replace=False).astype(np.uint32)).implode()
    order = _ordered(read(frame.select(task.time)), task.time)
    return order.arg_sort(descending=True)[: task.rows].implode()


def _sorted(held: pl.DataFrame, time: str) -> pl.DataFrame:
    _ordered(held, time)
    return held.sort(time, maintain_order=True)


def _ordered(held: pl.DataFrame, time: str) -> pl.Series:
    """The time column, once it is known to order every row."""
    order = held[time]
    if not (order.dtype.is_temporal() or order.dtype.is_numeric()):
        raise DataError(
            f"You gave {time!r} as the time, but it is {order.dtype}: convert it "
            f'(frame.with_columns(pl.col("{time}").str.to_datetime())), or leave `time` empty where rows lie in order.'
        )
    if order.null_count():
        raise DataError(f"You gave {time!r} as the time, but {order.null_count():,} rows have none: leave them out.")
    return order


def _moments(order: pl.Series | None, height: int) -> pl.Series:
    import polars as pl

    if order is None:
        return pl.int_range(height, eager=True).cast(pl.String)
    return order.dt.strftime("%Y-%m-%d %H:%M") if isinstance(order.dtype, pl.Datetime) else order.cast(pl.String)


def _encoded(series: pl.Series, task: DriftTask) -> Floats | Codes | str:
    """A column as numbers or as codes; or why it cannot be watched."""
    import polars as pl

    if series.name in task.categories and series.dtype.is_integer():
        return _codes(series.cast(pl.String))
    if series.dtype.is_numeric():
        return _numbers(series)
    if series.dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum):
        return _codes(series.cast(pl.String))
    if series.dtype == pl.Null:
        return "it holds no value"
    return f"its type, {series.dtype}, is neither a number nor a category"


def _numbers(series: pl.Series) -> Floats | str:
    import numpy as np

    column = _floats(series)
    there = column[~np.isnan(column)]
    if not there.size:
        return "it holds no value"
    if there.min() == there.max():
        return f"it is {there[0]:g} in every row that has a value: there is no spread to judge a change by"
    steps = np.diff(there)
    if series.dtype.is_integer() and len(there) > 2 and ((steps > 0).all() or (steps < 0).all()):
        return "it only rises or falls, row by row: a key or a count of rows, which never comes back"
    return column


def _floats(series: pl.Series) -> Floats:
    import numpy as np
    import polars as pl

    column = series.cast(pl.Float64).fill_null(float("nan")).to_numpy(writable=True)
    column[np.isinf(column)] = np.nan
    return column


def _coded(series: pl.Series, known: Mapping[str, int], rare: int) -> Ints:
    """Codes of a column: 0 where it is missing, `rare` where the level is not known."""
    import numpy as np
    import polars as pl

    text = series.cast(pl.String)
    found = text.replace_strict(list(known), list(known.values()), default=rare, return_dtype=pl.Int64)
    return np.where(text.is_null().to_numpy(), 0, found.to_numpy()).astype(np.int64)


def _codes(series: pl.Series) -> Codes | str:
    import numpy as np

    counts = series.drop_nulls().value_counts(sort=False).sort("count", series.name, descending=[True, False])
    if not counts.height:
        return "it holds no value"
    if counts.height == 1 and not series.null_count():
        return f"it is {counts[series.name][0]!r} in every row: there is no mix to judge a change by"
    if counts.height > series.len() / 2:
        return "it is different in nearly every row: a key or a text, no category"
    if (covered := counts["count"].head(LEVELS).sum() / series.len()) < COVERED and counts.height > LEVELS:
        return f"its {LEVELS} most frequent values cover {covered:.0%} of the rows: a key or a text, no category"
    levels = min(counts.height, LEVELS + 1) + 1
    codes = np.minimum(np.arange(counts.height) + 1, levels - 1)
    of = dict(zip(counts[series.name].to_list(), codes.tolist()))
    return Codes(_coded(series, of, levels - 1), levels, of)


def _check_columns(task: DriftTask, kept: dict[str, Any], unwatched: dict[str, str]) -> None:
    refused = [name for name in task.columns if name in unwatched]
    if refused:
        raise DataError(f"You asked to watch {refused[0]!r}, but {unwatched[refused[0]]}: leave it out of `columns`.")
    if not kept:
        reasons = "; ".join(f"{name!r}: {reason}" for name, reason in list(unwatched.items())[:5])
        raise DataError(
            f"You gave {task.history}, which has no column to watch ({reasons}): add one of numbers or categories."
        )
