"""Check a table for one use, in one pass, before anything expensive starts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from weigh.data.error import DataError, need_columns
from weigh.data.table import Table, scan_whole

if TYPE_CHECKING:
    import polars as pl


def require(
    table: Table,
    *,
    columns: Sequence[str] = (),
    numeric: Sequence[str] = (),
    times: Sequence[str] = (),
    label: str | None = None,
    sorted_by: str | None = None,
    key: Sequence[str] = (),
) -> pl.LazyFrame:
    """The table as a lazy frame, once it is sure that it can be used.

    Args:
        table: a path or an in-memory table.
        columns: must exist and hold at least one value.
        numeric: must besides be numbers (booleans count).
        times: must besides be dates or datetimes.
        label: must besides hold at least two different values.
        sorted_by: must be a time column in ascending order.
        key: columns that together must be different in every row (null counts as a value).

    Raises:
        DataError: the first thing that is not so, with the nearest column name, or the rows and values at fault; a line
            of a CSV file that has more or fewer values than the header.

    >>> require({"late": [True, True]}, label="late")
    Traceback (most recent call last):
    weigh.data.error.DataError: You gave 'late' as the label, but every row says True: ...
    """
    frame = scan_whole(table)
    times = [*times, sorted_by] if sorted_by else times
    wanted = list(dict.fromkeys([*columns, *numeric, *times, *([label] if label else []), *key]))
    need_columns(frame, wanted)
    _need_types(frame, numeric, times)
    _need_values(frame, wanted, label)
    if sorted_by or key:
        _need_order(frame, sorted_by, key)
    return frame


def _need_types(frame: pl.LazyFrame, numeric: Iterable[str], times: Iterable[str]) -> None:
    import polars as pl

    schema = frame.collect_schema()
    for name in numeric:
        if not (schema[name].is_numeric() or schema[name] in (pl.Boolean, pl.Null)):
            raise DataError(
                f"You gave {name!r} as a number, but it is {schema[name]}{_text_at(frame, name)}: convert it "
                f'(frame.with_columns(pl.col("{name}").cast(float))), or leave it out.'
            )
    for name in times:
        if not (schema[name] == pl.Date or isinstance(schema[name], pl.Datetime)):
            raise DataError(
                f"You gave {name!r} as a time, but it is {schema[name]}: convert it "
                f'(frame.with_columns(pl.col("{name}").str.to_datetime())).'
            )


def _text_at(frame: pl.LazyFrame, name: str) -> str:
    """Where a text column first holds something that is no number."""
    import polars as pl

    if frame.collect_schema()[name] != pl.String:
        return ""
    column = pl.col(name)
    bad = frame.select(name).with_row_index("row").filter(column.cast(pl.Float64, strict=False).is_null())
    first = bad.filter(column.is_not_null()).head(1).collect(engine="streaming")
    return f" (row {first['row'][0]} holds {first[name][0]!r})" if first.height else ""


def _need_values(frame: pl.LazyFrame, names: Sequence[str], label: str | None) -> None:
    import polars as pl

    from weigh.data._rules import present

    schema = frame.collect_schema()
    counts = [present(name, schema[name]).sum().alias(f"count {name}") for name in names]
    facts = (
        frame.select(pl.len().alias("rows"), *counts, *_ends(label, schema))
        .collect(engine="streaming")
        .row(0, named=True)
    )
    if not facts["rows"]:
        raise DataError("You gave a table without rows: check the filter or the query that made it.")
    for name in names:
        if not facts[f"count {name}"]:
            raise DataError(
                f"You gave {name!r}, but none of its {facts['rows']} rows holds a value: leave the column out, "
                "or look at the join that should have filled it."
            )
    if label and facts["lowest"] == facts["highest"]:
        raise DataError(
            f"You gave {label!r} as the label, but every row says {facts['lowest']!r}: there is nothing to learn "
            "or to compare; take a longer period or another label."
        )


def _ends(label: str | None, schema: pl.Schema) -> list[pl.Expr]:
    """The lowest and the highest label; they are equal when there is only one."""
    import polars as pl

    from weigh.data._rules import present

    if label is None:
        return []
    column = pl.col(label).filter(present(label, schema[label]))
    column = column.cast(pl.String) if schema[label] in (pl.Categorical, pl.Enum) else column
    return [column.min().alias("lowest"), column.max().alias("highest")]


def _need_order(frame: pl.LazyFrame, sorted_by: str | None, key: Sequence[str]) -> None:
    from weigh.data._rules import inspect, key_rule, order_rule

    rules = [order_rule(sorted_by)] if sorted_by else []
    violations = inspect(frame, rules, key_rule(key) if key else None, time=sorted_by)[1]
    for violation in violations:
        if violation.check == "sorted":
            raise DataError(f'You gave an unsorted table ({violation}): call .sort("{sorted_by}") on it first.')
        raise DataError(f"You gave {list(key)} as the key, which repeats ({violation}): name more columns.")
