"""A data contract: what a table promises, checked over tables larger than memory, row by row accountable."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from weigh.data._rules import Violation
from weigh.data.error import DataError
from weigh.data.table import BATCH, Table, scan, scan_whole

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Column", "Contract", "ContractReport", "Violation"]

Kind: TypeAlias = Literal["integer", "number", "string", "boolean", "date", "datetime", "duration", "any"]
Bound: TypeAlias = StrictInt | StrictFloat | datetime | date | timedelta
BOUNDS: dict[str, tuple[type, ...]] = {
    "integer": (int, float),
    "number": (float, int),
    "date": (date,),
    "datetime": (datetime,),
    "duration": (timedelta,),
}


class Column(BaseModel):
    """What one column promises.

    Attributes:
        type: `number` takes integers too; `string` takes categories; `any` takes lists and structs.
        unit: of the values and the bounds, such as `miles`.
        min, max: the lowest and highest value, both allowed; not for strings and booleans.
        allowed: the only values.
        nullable: whether a value may be missing (null, or NaN among numbers).
        max_missing: the largest share of rows, 0 to 1, whose value may be missing; only if nullable.
        description: what the column means and when it is known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Kind
    unit: str = ""
    min: Bound | None = None
    max: Bound | None = None
    allowed: tuple[StrictInt | StrictFloat | StrictStr, ...] | None = None
    nullable: bool = False
    max_missing: float = Field(default=1.0, ge=0.0, le=1.0)
    description: str = ""

    @field_validator("min", "max")
    @classmethod
    def _of_the_type(cls, bound: Bound | None, info: ValidationInfo) -> Bound | None:
        kind = info.data.get("type", "any")
        if bound is None:
            return None
        if kind not in BOUNDS:
            raise ValueError(f"a {kind} column has no min and max: give allowed=(...) instead")
        if kind == "date" and isinstance(bound, datetime):
            return bound.date()
        if kind == "datetime" and isinstance(bound, date) and not isinstance(bound, datetime):
            return datetime.combine(bound, time())
        if not isinstance(bound, BOUNDS[kind]):
            raise ValueError(f"{bound!r} is no bound for a {kind} column: give a {BOUNDS[kind][0].__name__}")
        return bound

    @model_validator(mode="after")
    def _in_order(self) -> Column:
        low, high = self.min, self.max
        if low is not None and high is not None and not low <= high:  # type: ignore[operator]
            raise ValueError(f"min={low} lies above max={high}: swap them")
        return self


class Contract(BaseModel):
    """What a table promises. It round-trips through JSON and YAML, and checks tables of any size.

    Attributes:
        name: of the table.
        columns: by name.
        key: columns that together are different in every row.
        time: a date or datetime column in ascending order.
        sort: the table need not come in order of `time`; `ordered` puts it in order.
        extra: whether the table may have further columns.
        description, source: what it holds, where it comes from and under which licence.

    >>> contract = Contract(name="flights", columns={"distance": Column(type="number", unit="miles", min=0)})
    >>> print(contract.check({"distance": [1400, -3]}))
    flights: 1 violation in 2 rows
    - distance: expected at least 0 miles, found -3 in row 1 (1 of 2 rows)
    >>> Contract.from_yaml(contract.to_yaml()) == contract
    True
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    columns: dict[str, Column]
    key: tuple[str, ...] = ()
    time: str | None = None
    sort: bool = False
    extra: bool = True
    description: str = ""
    source: str = ""

    @model_validator(mode="after")
    def _names_its_columns(self) -> Contract:
        for name in (*self.key, *([self.time] if self.time else [])):
            if name not in self.columns:
                raise ValueError(f"the key or time column {name!r} is not among the columns: describe it there")
        return self

    def check(self, table: Table, *, batch: int = BATCH) -> ContractReport:
        """Compare a table with this contract in one pass (a second one only where keys seem to repeat).

        Memory holds one batch of rows, and 8 bytes a row if there is a key; the report does not depend on `batch`.

        Raises:
            DataError: the table cannot be read, or a line of a CSV file is too short or too long; what the cells
                hold never raises.
        """
        from weigh.data._check import check

        rows, violations = check(self, scan_whole(table), batch)
        return ContractReport(self.name, rows, tuple(violations))

    def ordered(self, table: Table) -> pl.LazyFrame:
        """The table as a lazy frame, in order of `time` if `sort` asks for it, otherwise as it is."""
        frame = scan(table)
        return frame.sort(self.time, maintain_order=True) if self.sort and self.time else frame

    @classmethod
    def infer(cls, table: Table, name: str = "table") -> Contract:
        """Propose a contract that this table keeps: a draft to edit, since its bounds are just what was seen.

        Strings with at most 20 different values get `allowed`; the first unique column called `id` or `*_id` becomes
        the key; the first date or datetime column without gaps and in order becomes `time`.

        >>> Contract.infer({"origin": ["JFK", "LGA"], "delay": [3.0, None]}).columns["delay"].max_missing
        0.5
        """
        from weigh.data._infer import infer

        return cls(name=name, **infer(scan(table)))

    def to_json(self) -> str:
        """JSON text, defaults left out."""
        return self.model_dump_json(indent=2, exclude_defaults=True)

    def to_yaml(self) -> str:
        """YAML text, defaults left out."""
        import yaml

        return str(yaml.safe_dump(self.model_dump(mode="json", exclude_defaults=True), sort_keys=False, width=120))

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Read what `to_json` wrote."""
        return cls._parsed(text, cls.model_validate_json)

    @classmethod
    def from_yaml(cls, text: str) -> Contract:
        """Read what `to_yaml` wrote, or what a person did."""
        import yaml

        return cls._parsed(text, lambda given: cls.model_validate(yaml.safe_load(given)))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Contract:
        """Read a contract from a .json, .yaml or .yml file."""
        file = Path(path)
        if not file.is_file():
            raise DataError(f"You gave the contract {file}, but there is no such file: check the path.")
        return cls.from_json(file.read_text()) if file.suffix == ".json" else cls.from_yaml(file.read_text())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the contract to a .json, .yaml or .yml file."""
        file = Path(path)
        file.write_text(self.to_json() + "\n" if file.suffix == ".json" else self.to_yaml())

    @classmethod
    def _parsed(cls, text: str, parse: Callable[[str], Contract]) -> Contract:
        import yaml

        try:
            return parse(text)
        except (ValidationError, yaml.YAMLError) as error:
            raise DataError(f"You gave a contract that cannot be read: {error}") from error


@dataclass(frozen=True)
class ContractReport:
    """How a table compares with its contract: `rows` looked at, and the `violations` found."""

    name: str
    rows: int
    violations: tuple[Violation, ...]

    @property
    def ok(self) -> bool:
        """Whether the table keeps every promise."""
        return not self.violations

    def raise_for_violations(self) -> None:
        """Raise a `DataError` with the report's text unless the table keeps every promise."""
        if self.violations:
            raise DataError(f"You gave a table that breaks its contract, {self}\nMend the table, or the contract.")

    def __str__(self) -> str:
        number = len(self.violations)
        if not number:
            return f"{self.name}: keeps its contract in all {self.rows:,} rows"
        title = f"{self.name}: {number} violation{'s' if number > 1 else ''} in {self.rows:,} rows"
        return "\n".join([title, *(f"- {violation}" for violation in self.violations)])

    def __iter__(self) -> Iterator[Violation]:
        return iter(self.violations)
