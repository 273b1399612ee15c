"""One replication: a rule is asked one question about one family, measures what it likes, and is scored by the truth.

Rows of tables whose units do not resemble their neighbours are drawn with replacement: the table stands for the world,
and each replication is a new validation set out of it. Where a gauge states a population, the table is the finite set
itself, and rows are drawn in random order, each once.

A series (timings) is drawn as runs of `RUN` consecutive rounds, each from an offset of its own, the table's end joined
to its beginning. Within a run real autocorrelation is kept. One long stretch would keep more of it, but a tenth of a
table is then one hour of the machine's day: its medians are not the table's, whatever the rule. Many runs see the day.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions import truth
from benchmarks.decisions.asked import Array, Asked, Meter, Rule, Shipped
from benchmarks.decisions.family import Family
from weigh.scale.gauge import Gauge, Limit

RUN = 500
"""Rounds of a series that are kept together."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one replication.

    Attributes:
        option: what was shipped.
        certified: the rule stood behind it.
        violated: it breaks a limit in truth, and was not merely the baseline, shipped without a claim.
        nothing: the baseline was shipped without a claim although it breaks a limit: nothing was decided.
        cost_ratio: the objective of what was shipped against the oracle's, 1 at best; NaN where it breaks a limit,
            since a violator that costs less has saved nothing.
        used: units measured, as a share of all units of all options.
        bias: by how much what was reported flatters the option, in percentage points; NaN where no mean was reported.
        seconds: of one core that the rule took.
        error: what the rule raised; empty where it answered.
    """

    option: str
    certified: bool
    violated: bool
    nothing: bool
    cost_ratio: float
    used: float
    bias: float
    seconds: float
    error: str = ""


class Measured(Mapping[str, Mapping[str, Array]]):
    """One block by option and gauge; the arrays of all options at once for those who ask for them."""

    __slots__ = ("_names", "_values")

    def __init__(self, names: Sequence[str], values: Mapping[str, Array]) -> None:
        self._names, self._values = tuple(names), values

    def __getitem__(self, option: str) -> Mapping[str, Array]:
        try:
            place = self._names.index(option)
        except ValueError:
            raise KeyError(option) from None
        return {gauge: values[place] for gauge, values in self._values.items()}

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def matrix(self, gauge: str) -> Array:
        """Shape (options in the order asked for, units of the block)."""
        return self._values[gauge]


class Table:
    """A family as replications read it: one row an option."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.values = {gauge: np.ascontiguousarray(values.T) for gauge, values in family.values.items()}
        self.places = {name: place for place, name in enumerate(family.options)}
        self.truth, self.costs = truth.truth(family), truth.costs(family)
        self.finite = any(gauge.population for gauge in family.gauges)

    def rows(self, seed: int) -> NDArray[np.intp]:
        """The units of each block, shape (blocks, block): the same for a seed, whatever is asked."""
        family, random = self.family, np.random.default_rng(seed)
        blocks = family.units // family.block
        if family.serial:
            run = max(RUN // family.block, 1) * family.block
            starts = random.integers(0, family.units, -(-blocks * family.block // run))
            rounds = (starts[:, None] + np.arange(run)).ravel() % family.units
            return rounds[: blocks * family.block].reshape(blocks, family.block)
        if self.finite:
            return random.permutation(family.units)[: blocks * family.block].reshape(blocks, family.block)
        return random.integers(0, family.units, (blocks, family.block))

    def meter(self, seed: int) -> Meter:
        """Measures this table for one replication."""
        rows = self.rows(seed)
        everyone = tuple(self.family.options)

        def draw(block: int, options: Sequence[str]) -> Measured:
            if not 0 <= block < len(rows):
                raise IndexError(f"block {block} of {len(rows)}: a table has `asked.blocks` of them, counted from 0")
            if tuple(options) == everyone:
                return Measured(options, {g: values[:, rows[block]] for g, values in self.values.items()})
            cells = np.ix_([self.places[name] for name in options], rows[block])
            return Measured(options, {gauge: values[cells] for gauge, values in self.values.items()})

        return Meter(draw, self.family.block)


class Question:
    """One setting of a family: what a rule is asked, and what is true.

    Args:
        table: the family.
        limits: one of its settings.
        alpha: probability of shipping a violator, at most.
    """

    def __init__(self, table: Table, limits: tuple[Limit, ...], alpha: float = 0.05) -> None:
        self.table, self.limits = table, limits
        family = table.family
        self.feasible = truth.feasible(family, limits)
        ratios = table.costs / table.costs[truth.oracle(family, limits)]
        self.ratios = np.where(self.feasible, ratios, np.nan)
        self.asked = Asked(
            options=family.options,
            baseline=family.baseline,
            gauges={gauge.name: gauge for gauge in family.gauges},
            exact={name: dict(zip(family.options, of.tolist())) for name, of in family.exact.items()},
            limits=limits,
            objective=family.objective,
            alpha=alpha,
            units=family.units,
            block=family.block,
            blocks=family.units // family.block,
        )

    def play(self, rule: Rule, seed: int) -> Outcome:
        """Ask a rule once; one that raises has shipped nothing, and is shown as an error."""
        meter, start, error = self.table.meter(seed), time.process_time(), ""
        try:
            shipped = rule(self.asked, meter, seed)
            if shipped.option not in self.table.places:
                raise ValueError(f"shipped {shipped.option!r}, which is none of the options")
            if not all(isinstance(value, float | int) for value in dict(shipped.reported).values()):
                raise ValueError(f"reported {shipped.reported!r}, where numbers by gauge are asked for")
        except (Exception, SystemExit) as raised:
            shipped, error = Shipped(self.asked.baseline, False), f"{type(raised).__name__}: {raised}"
        return self._score(shipped, meter.used, time.process_time() - start, error)

    def _score(self, shipped: Shipped, used: int, seconds: float, error: str) -> Outcome:
        place = self.table.places[shipped.option]
        fine = bool(self.feasible[place])
        fallback = shipped.option == self.asked.baseline and not shipped.certified
        return Outcome(
            option=shipped.option,
            certified=shipped.certified,
            violated=not fine and not fallback,
            nothing=not fine and fallback,
            cost_ratio=float(self.ratios[place]),
            used=used / (self.asked.units * len(self.asked.options)),
            bias=self._bias(shipped, place),
            seconds=seconds,
            error=error,
        )

    def judged(self) -> Gauge | None:
        """The gauge whose reported value is scored: that of the first random limit, or the objective."""
        names = [limit.gauge for limit in self.limits] + [self.asked.objective]
        return next((self.asked.gauges[name] for name in names if self.asked.gauges[name].kind != "exact"), None)

    def _bias(self, shipped: Shipped, place: int) -> float:
        gauge = self.judged()
        if gauge is None or gauge.kind != "mean" or gauge.name not in shipped.reported:
            return math.nan
        values = self.table.truth[gauge.name]
        difference = values[place] - values[self.table.places[self.asked.baseline]]
        flattery = float(shipped.reported[gauge.name] - difference) * (1.0 if gauge.better == "higher" else -1.0)
        return 100.0 * flattery / (gauge.high - gauge.low)
