"""A family's table as a choice of weigh: what `weigh.decide` measures there are the rows that replications draw.

``benchmarks.decisions.replay:shuttle_small`` is the choice on the family ``shuttle-small`` (``-`` is typed ``_``), one
of the class `Replay` for each table in the cache. Its task names the table's two files, so that their content is in
its fingerprint; its options are the table's columns, ``table:column=float32``. Block k under a seed holds the values of
row k of `benchmarks.decisions.play.Table.rows` for that seed: another seed draws other units.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.decisions import store, truth
from benchmarks.decisions.family import Family
from benchmarks.decisions.play import Table
from weigh.choice import Bench, Block, Blocks, Choice, Measure, Option, Task, UsageError, Values, unknown
from weigh.scale.gauge import Gauge, Limit

FRESH = 10
"""Every so many-th block of a table only confirms."""


class Files(Task):
    """A family as `benchmarks.decisions.store` saved it: its table, and beside it what that is about."""

    table: Path
    about: Path


class Column(Option):
    """One option of the family, as it did on every unit."""

    name: ClassVar[str] = "table"
    column: str


class Draws(Bench):
    """A table, and the units of each block under a seed.

    Args:
        table: the family.
        seed: of the units' draw.
    """

    def __init__(self, table: Table, seed: int) -> None:
        self.table, self.rows = table, table.rows(seed)

    @property
    def blocks(self) -> Blocks:
        fresh = len(self.rows) // FRESH
        sizes = {gauge.population for gauge in self.table.family.gauges if gauge.population}
        return Blocks(race=len(self.rows) - fresh, fresh=fresh, population=max(sizes, default=None))

    def prepare(self, option: Column) -> int:
        """The option's place in the table.

        Raises:
            UsageError: the table has no such option.
        """
        if option.column not in self.table.places:
            raise UsageError(unknown("column", option.column, list(self.table.places), f"of {self.table.family.name}"))
        return self.table.places[option.column]

    def trial(self, subject: int, block: Block) -> Values:
        units = self.rows[block.index]
        exact = {name: float(of[subject]) for name, of in self.table.family.exact.items()}
        return {**exact, **{name: of[subject, units].tolist() for name, of in self.table.values.items()}}


class Replay(Choice):
    """Which option of a family should be shipped? Finished for each table by `of`."""

    family: ClassVar[str]
    task = Files
    option = Column
    assumptions: ClassVar[dict[str, str]] = {
        "the table stands for the world": "build the family again from other data, and decide again"
    }

    def open(self, task: Files, seed: int) -> Draws:
        return Draws(opened(task.table), seed)

    def toy(self, folder: Path, seed: int = 0) -> Files:
        made = files(self.family)
        copies = [Path(shutil.copy(path, folder)) for path in (made.table, made.about)]
        return Files(table=copies[0], about=copies[1])

    def loser(self) -> Column:
        made = opened(files(self.family).table).family
        met = truth.feasible(made, made.settings[0])
        return Column(column=made.options[int(np.argmin(met))])

    def twins(self) -> tuple[Option, Option]:
        raise UsageError("no two columns of a table are of the same worth: `benchmarks.decisions.twins` draws twins")


def __getattr__(name: str) -> type[Replay]:
    """The choice on a family, by its name as an attribute of this module."""
    made = None if name.startswith("_") else files(name.replace("_", "-"))
    if made is None or not made.table.exists():
        raise AttributeError(f"no table of {name}; build it: `python -m benchmarks.decisions.build`")
    return of(opened(made.table).family)


def files(family: str) -> Files:
    """Where the cache keeps a family."""
    table = store.folder() / f"{family}.npz"
    return Files(table=table, about=table.with_suffix(".json"))


def opened(path: Path) -> Table:
    """The table in a file."""
    return _opened(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _opened(path: Path, changed: int) -> Table:
    return Table(store.read(path))


def of(family: Family) -> type[Replay]:
    """The choice on one family: its measures, its baseline, and the first of its settings."""
    first = next(gauge.name for gauge in family.gauges if gauge.kind == "exact")
    fields: dict[str, Any] = {
        "__module__": __name__, "family": family.name, "name": f"decisions/{family.name}",
        "question": f"Which option should be shipped? ({family.source})",
        "measures": _first(family.objective, [_measure(gauge) for gauge in family.gauges]), "cost": first,
        "baseline": f"{__name__}:Column:column={family.baseline}", "require": require(family.settings[0]),
    }  # fmt: skip
    return type("Replay", (Replay,), fields)


def _first(objective: str, measures: Sequence[Measure]) -> tuple[Measure, ...]:
    return tuple(sorted(measures, key=lambda measure: measure.name != objective))


def _measure(gauge: Gauge) -> Measure:
    return Measure(
        name=gauge.name, unit="", better=gauge.better, kind=gauge.kind, meaning=f"{gauge.name} in the table",
        low=gauge.low, high=gauge.high, q=gauge.q, serial=gauge.serial, finite=gauge.population is not None,
    )  # fmt: skip


def require(limits: Sequence[Limit]) -> tuple[str, ...]:
    """Limits as they are typed, to the last digit."""
    return tuple(map(_typed, limits))


def _typed(limit: Limit) -> str:
    if limit.relative == "difference":
        return f"{limit.gauge} {limit.op} baseline {'-' if limit.bound < 0 else '+'} {abs(limit.bound)!r}"
    times = " * baseline" if limit.relative else ""
    return f"{limit.gauge} {limit.op} {limit.bound!r}{times}"
