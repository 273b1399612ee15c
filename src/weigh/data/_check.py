"""From a contract's columns to rules, and from rules to violations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from weigh.data._rules import SHOWN, KeyRule, Rule, Violation, inspect, order_rule, present
from weigh.data.split import at_moment

if TYPE_CHECKING:
    import polars as pl

    from weigh.data.contract import Column, Contract


def check(contract: Contract, frame: pl.LazyFrame, size: int) -> tuple[int, list[Violation]]:
    """The number of rows, and the violations: columns first, then rows in the contract's order, keys last."""
    schema = frame.collect_schema()
    found = [*_lacking(contract, schema), *_unknown(contract, schema)]
    rules: list[Rule] = []
    for name, column in contract.columns.items():
        if name not in schema:
            continue
        if not fits(column.type, schema[name]):
            found.append(_wrong_type(name, column, frame))
            continue
        rules += _value_rules(name, column, schema[name])
    ordered = None if contract.sort else contract.time
    if ordered and not (ordered in schema and schema[ordered].is_temporal()):
        ordered = None
    if ordered:
        rules.append(order_rule(ordered))
    key = KeyRule(contract.key) if contract.key and all(name in schema for name in contract.key) else None
    rows, broken = inspect(frame, rules, key, time=ordered, size=size)
    if not rows:
        found.append(Violation("(table)", "rows", "at least one row", values=("none",)))
    return rows, found + broken


def fits(kind: str, dtype: pl.DataType) -> bool:
    """Whether a polars type is what a contract calls `kind`; an all-null column fits every kind."""
    import polars as pl

    if kind == "any" or dtype == pl.Null:
        return True
    if kind in ("date", "datetime", "duration", "boolean"):
        return dtype == {"date": pl.Date, "datetime": pl.Datetime, "duration": pl.Duration, "boolean": pl.Boolean}[kind]
    if kind == "string":
        return dtype in (pl.String, pl.Categorical, pl.Enum)
    return dtype.is_integer() if kind == "integer" else dtype.is_numeric()


def _lacking(contract: Contract, schema: pl.Schema) -> Iterator[Violation]:
    from difflib import get_close_matches

    for name, column in contract.columns.items():
        if name not in schema:
            near = get_close_matches(name, schema.names(), n=1, cutoff=0.6)
            values = (f"no such column; is it {near[0]!r}?" if near else "no such column",)
            yield Violation(name, "missing", f"a column of type {column.type}", values=values)


def _unknown(contract: Contract, schema: pl.Schema) -> Iterator[Violation]:
    for name in () if contract.extra else schema:
        if name not in contract.columns:
            yield Violation(name, "extra", "no such column", values=(f"one of type {schema[name]}",))


def _wrong_type(name: str, column: Column, frame: pl.LazyFrame) -> Violation:
    """The rows shown are those that could not be converted, if that is what stands in the way."""
    import polars as pl

    dtype = frame.collect_schema()[name]
    rows = frame.select(name).with_row_index("\0row")
    value = pl.col(name)
    if dtype == pl.String and column.type in ("integer", "number"):
        bad = value.cast(pl.Float64, strict=False).is_null() & value.is_not_null()
        total, broken = inspect(frame.select(name), [Rule(name, "type", _kind(column), bad)], None)
        if broken:
            return broken[0]
    first = rows.filter(value.is_not_null()).head(SHOWN).collect(engine="streaming")
    total = frame.select(pl.len()).collect(engine="streaming").item()
    where, values = tuple(first["\0row"].to_list()), tuple(first[name].to_list())
    return Violation(name, "type", f"{_kind(column)}, not {dtype}", total, total, where, values)


def _kind(column: Column) -> str:
    return f"type {column.type}" + (f" in {column.unit}" if column.unit else "")


def _value_rules(name: str, column: Column, dtype: pl.DataType) -> Iterator[Rule]:
    import polars as pl

    there, value = present(name, dtype), pl.col(name)
    unit = f" {column.unit}" if column.unit else ""
    if not column.nullable:
        yield Rule(name, "nullable", "a value in every row", ~there)
    elif column.max_missing < 1:
        share = f"at most {column.max_missing:.4g} of the rows without a value"
        yield Rule(name, "share", share, ~there, column.max_missing)
    if dtype.is_float():
        yield Rule(name, "finite", f"a finite number{unit}", value.is_infinite())
        there = there & value.is_finite()
    if column.min is not None:
        yield Rule(name, "min", f"at least {column.min}{unit}", there & (value < pl.lit(_bound(column.min, dtype))))
    if column.max is not None:
        yield Rule(name, "max", f"at most {column.max}{unit}", there & (value > pl.lit(_bound(column.max, dtype))))
    if column.allowed is not None:
        expected = f"one of {', '.join(map(str, column.allowed[:12]))}{', ...' if len(column.allowed) > 12 else ''}"
        text = value.cast(pl.String) if dtype in (pl.Categorical, pl.Enum) else value
        yield Rule(name, "allowed", expected, there & ~text.is_in(list(column.allowed)))


def _bound(bound: Any, dtype: pl.DataType) -> Any:
    return at_moment(bound, dtype) if dtype.is_temporal() and hasattr(bound, "year") else bound
