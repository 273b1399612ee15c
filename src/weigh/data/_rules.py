"""Rules about values, order and keys, checked batch by batch over a table that need not fit in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from weigh.data.table import BATCH, batches

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

SHOWN = 5
PREVIOUS = "\0previous"


@dataclass(frozen=True)
class Violation:
    """What a contract expected and did not find.

    Attributes:
        column: the column, or the key's columns joined by commas.
        check: `missing` (no such column), `extra`, `type`, `nullable`, `share` (of missing values), `finite`, `min`,
            `max`, `allowed`, `sorted`, `key` or `rows` (there are none).
        expected: what the contract asks for, with its unit.
        count: how many rows are at fault; 0 when it is the column itself.
        of: how many rows the table has.
        rows: the first few rows at fault, counted from 0.
        values: what they hold.
    """

    column: str
    check: str
    expected: str
    count: int = 0
    of: int = 0
    rows: tuple[int, ...] = ()
    values: tuple[Any, ...] = ()

    def __str__(self) -> str:
        if not self.rows:
            return f"{self.column}: expected {self.expected}" + (f", found {self.values[0]}" if self.values else "")
        more = ", ..." if self.count > len(self.rows) else ""
        where = f"row{'s' if self.count > 1 else ''} {', '.join(map(str, self.rows))}{more}"
        found = ", ".join("nothing" if value is None else _brief(value) for value in self.values)
        share = f"({self.count:,} of {self.of:,} rows)"
        return f"{self.column}: expected {self.expected}, found {found}{more} in {where} {share}"


@dataclass(frozen=True)
class Rule:
    """Rows where `bad` is true break the rule, unless they are at most `share` of all rows."""

    column: str
    check: str
    expected: str
    bad: pl.Expr
    share: float = 0.0


@dataclass
class _Tally:
    count: int = 0
    rows: list[int] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def add(self, values: pl.Series, bad: pl.Series, first: int) -> None:
        where = bad.arg_true()
        self.count += len(where)
        head = where.head(SHOWN - len(self.rows))
        self.rows += [first + row for row in head]
        self.values += values.gather(head).to_list()


class KeyRule:
    """No two rows may hold the same key. It remembers 8 bytes a row, and reads again only where hashes meet."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = list(columns)
        self.hashes: list[np.ndarray[Any, Any]] = []

    def see(self, batch: pl.DataFrame) -> None:
        self.hashes.append(self._hash(batch))

    def violation(self, frame: pl.LazyFrame, total: int, size: int) -> Violation | None:
        """The first rows whose key was seen before, or None."""
        import numpy as np

        whole = np.concatenate([np.empty(0, np.uint64), *self.hashes])
        self.hashes.clear()
        whole.sort()
        again = whole[1:][whole[1:] == whole[:-1]]
        if not len(again):
            return None
        rows, values = self._repeats(frame, np.unique(again), size)
        if not rows:
            return None
        return Violation(
            ", ".join(self.columns),
            "key",
            "a different key in every row",
            len(again),
            total,
            tuple(rows),
            tuple(values),
        )

    def _hash(self, batch: pl.DataFrame) -> np.ndarray[Any, Any]:
        import polars as pl
        import polars.selectors as cs

        plain = batch.select(self.columns).with_columns((cs.categorical() | cs.enum()).cast(pl.String))
        return plain.hash_rows(seed=1).to_numpy()

    def _repeats(self, frame: pl.LazyFrame, suspects: np.ndarray[Any, Any], size: int) -> tuple[list[int], list[Any]]:
        import numpy as np

        seen: set[tuple[Any, ...]] = set()
        rows: list[int] = []
        values: list[Any] = []
        first = 0
        for batch in batches(frame.select(self.columns), size):
            at = np.flatnonzero(np.isin(self._hash(batch), suspects))
            for row, key in zip(at.tolist(), batch[at].iter_rows(), strict=True):
                if key in seen:
                    rows.append(first + row)
                    values.append(key[0] if len(key) == 1 else key)
                    if len(rows) == SHOWN:
                        return rows, values
                seen.add(key)
            first += batch.height
        return rows, values


def inspect(
    frame: pl.LazyFrame, rules: Sequence[Rule], key: KeyRule | None, *, time: str | None = None, size: int = BATCH
) -> tuple[int, list[Violation]]:
    """How many rows there are, and which rules are broken, in one pass over the columns that the rules name."""
    tallies = [_Tally() for _ in rules]
    total, last = 0, None
    for batch in batches(frame.select(_columns(rules, key, frame)), size):
        if key is not None:
            key.see(batch)
        if time is not None:
            batch, last = _with_previous(batch, time, last)
        marks = batch.select(rule.bad.fill_null(False).alias(str(i)) for i, rule in enumerate(rules))
        for rule, tally, mark in zip(rules, tallies, marks, strict=True):
            if mark.any():
                tally.add(batch[rule.column], mark, total)
        total += batch.height
    found = [
        Violation(rule.column, rule.check, rule.expected, tally.count, total, tuple(tally.rows), tuple(tally.values))
        for rule, tally in zip(rules, tallies, strict=True)
        if tally.count > rule.share * total
    ]
    repeated = key.violation(frame, total, size) if key is not None else None
    return total, [*found, *([repeated] if repeated else [])]


def order_rule(time: str) -> Rule:
    """Each value of `time` is at least the one before it."""
    import polars as pl

    return Rule(time, "sorted", "no row earlier than the row before it", pl.col(time) < pl.col(PREVIOUS))


def key_rule(columns: Sequence[str]) -> KeyRule:
    """The columns hold a different combination of values in every row."""
    return KeyRule(columns)


def present(name: str, dtype: pl.DataType) -> pl.Expr:
    """Where a column holds a value: neither null nor, among floats, NaN."""
    import polars as pl

    there = pl.col(name).is_not_null()
    return there & pl.col(name).is_not_nan().fill_null(True) if dtype.is_float() else there


def _columns(rules: Sequence[Rule], key: KeyRule | None, frame: pl.LazyFrame) -> list[str]:
    named = [rule.column for rule in rules] + (key.columns if key else [])
    return list(dict.fromkeys(named)) or frame.collect_schema().names()[:1]


def _with_previous(batch: pl.DataFrame, time: str, last: pl.Series | None) -> tuple[pl.DataFrame, pl.Series]:
    """The batch with the latest earlier time beside each row, and the one for the next batch; gaps are stepped over."""
    import polars as pl

    before = batch[time].clear(1) if last is None else last
    times = pl.concat([before, batch[time]]).forward_fill()
    return batch.with_columns(times.head(batch.height).alias(PREVIOUS)), times.tail(1)


def _brief(value: Any) -> str:
    text = str(value) if isinstance(value, (date, timedelta)) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
