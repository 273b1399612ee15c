"""Propose a contract from what a table holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from weigh.data._check import fits
from weigh.data._rules import KeyRule, inspect, order_rule, present

if TYPE_CHECKING:
    import polars as pl

FEW = 20
KINDS = ("integer", "number", "string", "boolean", "date", "datetime", "duration")


def infer(frame: pl.LazyFrame) -> dict[str, Any]:
    """The fields of a contract that the table keeps: columns, key and time."""
    schema = frame.collect_schema()
    facts = frame.select(_facts(schema)).collect(engine="streaming").row(0, named=True)
    columns = {name: _column(frame, name, dtype, facts) for name, dtype in schema.items()}
    whole = [name for name, column in columns.items() if not column["nullable"]]
    found: dict[str, Any] = {"columns": columns}
    for name in whole:
        if columns[name]["type"] in ("date", "datetime") and not inspect(frame, [order_rule(name)], None, time=name)[1]:
            found["time"] = name
            break
    for name in whole:
        if (name == "id" or name.endswith("_id")) and not inspect(frame, [], KeyRule([name]))[1]:
            found["key"] = (name,)
            break
    return found


def _facts(schema: pl.Schema) -> Iterator[pl.Expr]:
    import polars as pl

    yield pl.len().alias("rows")
    for name, dtype in schema.items():
        there = present(name, dtype)
        yield there.sum().alias(f"there {name}")
        if dtype.is_numeric() or dtype.is_temporal():
            value = pl.col(name).filter(there & pl.col(name).is_finite() if dtype.is_float() else there)
            yield value.min().alias(f"min {name}")
            yield value.max().alias(f"max {name}")
        if dtype == pl.String:
            yield pl.col(name).approx_n_unique().alias(f"different {name}")


def _column(frame: pl.LazyFrame, name: str, dtype: pl.DataType, facts: dict[str, Any]) -> dict[str, Any]:
    import polars as pl

    gaps = facts["rows"] - facts[f"there {name}"]
    kind = next((kind for kind in KINDS if fits(kind, dtype)), "any") if dtype != pl.Null else "any"
    column: dict[str, Any] = {"type": kind, "nullable": gaps > 0}
    if gaps:
        column["max_missing"] = gaps / facts["rows"]
    for end in ("min", "max") if kind not in ("string", "boolean", "any") else ():
        column[end] = _plain(facts[f"{end} {name}"])
    if kind == "string" and facts.get(f"different {name}", 0) <= 2 * FEW:
        values = frame.select(pl.col(name).cast(pl.String).drop_nulls().unique().sort()).collect(engine="streaming")
        if values.height <= FEW:
            column["allowed"] = tuple(values[name].to_list())
    return column


def _plain(value: Any) -> Any:
    """Decimals as floats; everything else as it is."""
    return float(value) if type(value).__name__ == "Decimal" else value
