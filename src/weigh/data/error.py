"""The one error of this package, and how a reader's complaint becomes one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl


class DataError(ValueError):
    """A table that cannot be used as asked: what was done, why it cannot work and what to type instead."""


@contextmanager
def explained(table: Any) -> Iterator[None]:
    """Turn what polars raises while it reads `table` into a `DataError`."""
    from polars.exceptions import PanicException, PolarsError

    try:
        yield
    except (PolarsError, PanicException, OSError) as error:
        mend = (
            "if a column changes its type far down, convert the file once: "
            "polars.read_csv(path, infer_schema_length=None).write_parquet(...)"
            if ".csv" in named(table).lower()
            else "copy or write it again, or mend the query that makes it"
        )
        raise DataError(f"You read {named(table)}, which breaks off: {first_line(error)}; {mend}.") from error


def need_columns(frame: pl.LazyFrame, columns: Iterable[str]) -> None:
    """Raise a `DataError` that names the nearest column for the first of `columns` that the frame lacks."""
    have = frame.collect_schema().names()
    if not have:
        raise DataError("You gave a table without columns: check the query that made it, or the file's header.")
    for name in columns:
        if name not in have:
            near = get_close_matches(name, have, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(map(repr, have[:12]))}."
            raise DataError(f"You asked for the column {name!r}, which this table does not have: {hint}")


def first_line(error: BaseException) -> str:
    """The first line of an error's text, without its final full stop."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def named(table: Any) -> str:
    """A path as it is, anything else by its type."""
    return str(table) if isinstance(table, str) or hasattr(table, "__fspath__") else f"a {type(table).__name__}"
