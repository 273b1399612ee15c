"""Split a table at a moment: what was known by then, and what came after."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any

from weigh.data._require import require
from weigh.data.error import DataError
from weigh.data.table import Table

if TYPE_CHECKING:
    import polars as pl

__all__ = ["at_moment", "split_by_time"]


def split_by_time(table: Table, time: str, until: str | date | datetime) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """The rows before `until`, and the rows from it on.

    Args:
        table: a path or an in-memory table.
        time: the column to split on, a date or a datetime; to keep labels honest, split on when a label became *known*.
        until: the first moment of the second part, `"2013-03-01"` or a date or a datetime. For a column with a time
            zone, a moment without one is read as UTC.

    Raises:
        DataError: no such column, a column without times, a text that is no date.

    >>> from datetime import date
    >>> days = {"day": [date(2013, 2, 27), date(2013, 2, 28), date(2013, 3, 1)]}
    >>> before, rest = split_by_time(days, "day", "2013-03-01")
    >>> before.collect().height, rest.collect().height
    (2, 1)
    """
    import polars as pl

    frame = require(table, times=[time])
    moment = pl.lit(at_moment(until, frame.collect_schema()[time]))
    return frame.filter(pl.col(time) < moment), frame.filter(pl.col(time) >= moment)


def at_moment(moment: Any, dtype: pl.DataType) -> Any:
    """A text, date or datetime as a value that compares with a column of type `dtype`; naive moments are UTC."""
    import polars as pl

    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError as error:
            raise DataError(
                f"You gave the moment {moment!r}, which is no ISO 8601 date: write '2013-03-01'."
            ) from error
    if dtype == pl.Date:
        return moment.date() if isinstance(moment, datetime) else moment
    if isinstance(dtype, pl.Datetime):
        if not isinstance(moment, datetime):
            moment = datetime.combine(moment, time())
        if dtype.time_zone is not None:
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    return moment
