"""Decisions: what was asked (`Lock`), what was answered (`Decision`), and `judge`, the pure rule between them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Literal, Self, TypeAlias, get_args

from pydantic import Field

from weigh.choice import Blocks, Frozen, Measure, UsageError, unknown
from weigh.constraint import Constraint as Constraint
from weigh.evidence import Evidence
from weigh.limits import Limits
from weigh.scale.figures import ends
from weigh.scale.gauge import Gauge
from weigh.scale.halving import Contest, Halving, Rung
from weigh.scale.interval import Interval
from weigh.scale.race import Race

Verdict: TypeAlias = Literal["chosen", "tie", "undecided", "none"]
Outcome: TypeAlias = Literal["chosen", "leading", "tied", "undecided", "violates", "dominated", "failed"]


LEFT_OUT = "beside what the intervals cover"
"""How a decision's approximations begin where they name what a measure leaves out."""


class OptionLock(Frozen):
    """One option as it enters the race: how it is typed, where it comes from, and its settings in full."""

    spec: str
    source: str = Field(description="module:Class, or file.py:Class")
    settings: dict[str, Any]
    code: str = Field("", description="hash of the file, for an option from outside")
    missing: tuple[str, ...] = Field((), description="why it could not run where it was asked")


class Budget(Frozen):
    """When to stop, settled or not: after so many blocks, seconds of measuring, or share of all measurements."""

    blocks: int | None = Field(None, ge=1)
    seconds: float | None = Field(None, gt=0)
    share: float | None = Field(None, gt=0, le=1, description="of measuring every option on every block")

    @classmethod
    def parse(cls, text: str | int | Budget | None) -> Budget:
        """Read ``200``, ``200 blocks``, ``10%``, ``90s``, ``5m`` or ``1h``."""
        if text is None or isinstance(text, Budget):
            return text or cls()
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(blocks?|s|m|min|h|%|)\s*", str(text))
        if not found:
            raise UsageError(f"the budget '{text}' cannot be read; type '200' (blocks), '10%', '90s', '5m' or '1h'")
        number, unit = float(found[1]), found[2]
        if unit in ("", "block", "blocks"):
            if number < 1 or number != int(number):
                raise UsageError(f"the budget '{text}' is no number of blocks; type '200', or a time such as '90s'")
            return cls(blocks=int(number))
        if unit == "%":
            if not 0 < number <= 100:
                raise UsageError(f"the budget '{text}' is no share of all measurements; type '10%'")
            return cls(share=number / 100)
        if number <= 0:
            raise UsageError(f"the budget '{text}' leaves no time to measure; type '90s', '5m' or '1h'")
        return cls(seconds=number * {"s": 1, "m": 60, "min": 60, "h": 3600}[unit])

    def out_of_time(self, rows: Sequence[Evidence]) -> bool:
        """Whether that evidence took all the seconds that there were."""
        return self.seconds is not None and sum(row.seconds for row in rows) >= self.seconds

    def __str__(self) -> str:
        if self.blocks:
            return str(self.blocks)
        if self.share:
            return f"{100 * self.share:g}%"
        return f"{self.seconds:g}s" if self.seconds else ""


class Lock(Frozen):
    """Everything that the verdict depends on, fixed before the first measurement."""

    choice: str
    question: str
    task: dict[str, Any]
    task_fingerprint: str
    options: tuple[OptionLock, ...]
    baseline: str
    measures: tuple[Measure, ...]
    objective: str
    cost: str
    constraints: tuple[Constraint, ...]
    alpha: float = Field(gt=0, lt=0.5)
    epsilon: float = Field(ge=0)
    seed: int
    blocks: Blocks
    budget: Budget = Budget()
    limits: Limits = Limits()
    assumptions: dict[str, str] = {}
    weigh: str

    def measure(self, name: str) -> Measure:
        """The measure of that name."""
        return next(measure for measure in self.measures if measure.name == name)

    @property
    def indifference(self) -> str:
        """Epsilon as it is meant: in percent for times and quantiles."""
        percent = self.measure(self.objective).compared_by_ratio
        return f"{100 * self.epsilon:.3g}%" if percent else f"{self.epsilon:g}"

    def race(self, options: Sequence[str] | None = None, fresh: bool = False) -> Contest:
        """An empty race over the locked options; with `fresh` one over the fresh blocks, which is looked at once.

        The fresh rows of a finite set are not a random part of it once the race has chosen on the others: they speak
        for rows like them.
        """
        names = options or [option.spec for option in self.options]
        if self.blocks.rungs and not fresh:
            return self._halving(names)
        share = self.budget.share
        return Race(
            names,
            self.baseline,
            [self._gauge(measure, fresh) for measure in self.measures],
            [constraint.limit() for constraint in self.constraints],
            self.objective,
            self.alpha,
            self.epsilon,
            blocks=None if fresh else min(self.blocks.race, self.budget.blocks or self.blocks.race),
            room=None if fresh or share is None else math.ceil(share * len(names) * self.blocks.race),
        )

    def _halving(self, names: Sequence[str]) -> Halving:
        """The same over training rungs, which is asked as a race is."""
        share = self.budget.share
        return Halving(
            names,
            self.baseline,
            [self._gauge(measure, False) for measure in self.measures],
            [constraint.limit() for constraint in self.constraints],
            self.objective,
            self.alpha,
            self.epsilon,
            rungs=[Rung(rung.blocks, rung.label, rung.slack, rung.keep) for rung in self.blocks.rungs],
            blocks=self.budget.blocks,
            room=None if share is None else math.ceil(share * len(names) * self.blocks.race),
        )

    def _gauge(self, of: Measure, fresh: bool) -> Gauge:
        population = self.blocks.population if of.finite and not fresh else None
        return Gauge(of.name, of.kind, of.better, of.low, of.high, of.q, of.serial, population, once=fresh)


class Estimate(Frozen):
    """An interval with its estimate; a bound that is not known is None."""

    estimate: float | None
    low: float | None
    high: float | None
    n: int
    method: str
    exact: bool = Field(description="finite-sample guarantee (True) or asymptotic (False)")
    assumption: str

    @classmethod
    def of(cls, interval: Interval) -> Self:
        """From the scale's interval."""
        ends = [value if math.isfinite(value) else None for value in (interval.estimate, interval.low, interval.high)]
        return cls(
            estimate=ends[0], low=ends[1], high=ends[2],
            n=interval.n, method=interval.method, exact=interval.exact, assumption=interval.assumption,
        )  # fmt: skip

    def __str__(self) -> str:
        return ends(self.estimate, self.low, self.high)


class Check(Frozen):
    """One constraint, for one option: the interval of what it bounds, and whether it is met (None: not known)."""

    constraint: str
    interval: Estimate
    met: bool | None
    more_blocks: int | None = Field(None, description="about how many more blocks would tell")

    @classmethod
    def of(cls, race: Contest, name: str, constraint: Constraint) -> Self:
        """How one option stands to one constraint in a race."""
        limit = constraint.limit()
        interval = race.limit_interval(name, limit)
        met = True if limit.met(interval) else False if limit.broken(interval) else None
        more = race.blocks_to_settle(name, limit) if met is None else None
        return cls(constraint=str(constraint), interval=Estimate.of(interval), met=met, more_blocks=more)


class Standing(Frozen):
    """What became of one option, and why."""

    option: str
    outcome: Outcome
    why: str
    blocks: int
    dropped_at: int | None = None
    measured: dict[str, Estimate] = {}
    versus_baseline: dict[str, Estimate] = {}
    advantage: Estimate | None = Field(None, description="of the chosen option over this one, in the objective")
    checks: tuple[Check, ...] = ()


class Confirmation(Frozen):
    """The winner, measured again on blocks that the race did not use."""

    status: Literal["confirmed", "contradicted", "inconclusive", "not measured"]
    text: str
    blocks: int = 0
    measured: dict[str, dict[str, Estimate]] = {}
    checks: tuple[Check, ...] = ()


class Decision(Frozen):
    """What was chosen, at which risk, on which evidence, and why each other option was not."""

    lock: str
    choice: str
    question: str
    verdict: Verdict
    chosen: str | None
    tied: tuple[str, ...] = ()
    answer: str = Field(description="the answer in plain words, and how sure it is")
    confidence: str = Field(description="how sure the answer is, in words")
    alpha: float
    objective: str
    constraints: tuple[str, ...]
    standings: tuple[Standing, ...]
    confirmation: Confirmation
    approximations: tuple[str, ...]
    assumptions: dict[str, str]
    more_blocks: int | None = Field(None, description="about how many more blocks would settle it")
    blocks: int
    measurements: int
    exhaustive: int = Field(description="measurements that measuring every option on every race block would take")
    evidence: str = Field(description="digest of the evidence")
    rows: int = Field(description="rows of evidence, those of fresh blocks included")

    def __str__(self) -> str:
        return self.answer

    def _repr_html_(self) -> str:
        """The answer, the options with their constraints, the best first, and what to type next, for a notebook."""
        heads = ("option", "outcome", self.objective, *self.constraints, "why")
        head = "".join(f'<th style="text-align: left">{escape(name)}</th>' for name in heads)
        body = "".join(_row(self, standing) for standing in sorted(self.standings, key=_place))
        verbs = ", ".join(f"<code>weigh {verb} {self.lock[7:15]}</code>" for verb in ("show", "explain", "report"))
        return (
            f"<p><b>{escape(self.answer)}</b></p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            f"<p>Type {verbs} for more.</p>"
        )

    def standing(self, option: str) -> Standing:
        """What became of one option."""
        for standing in self.standings:
            if standing.option == option:
                return standing
        raise UsageError(unknown("option", option, [s.option for s in self.standings], "in this decision"))


def _place(standing: Standing) -> tuple[int, float]:
    """Outcomes in their order, and by what the chosen option is ahead."""
    lead = standing.advantage.estimate if standing.advantage else None
    return get_args(Outcome).index(standing.outcome), 0.0 if lead is None else lead


def _row(decision: Decision, standing: Standing) -> str:
    words = {True: "met", False: "broken", None: "not known"}
    checks = {one.constraint: f"{words[one.met]}: {one.interval}" for one in standing.checks}
    won = standing.outcome == "chosen"
    cells = (
        f"✓ {standing.option}" if won else standing.option, standing.outcome,
        str(standing.measured.get(decision.objective, "–")), *(checks.get(text, "–") for text in decision.constraints),
        standing.why,
    )  # fmt: skip
    texts = [f"<b>{escape(cell)}</b>" if won else escape(cell) for cell in cells]
    return "<tr>" + "".join(f'<td style="text-align: left">{text}</td>' for text in texts) + "</tr>"


def judge(lock: Lock, evidence: Iterable[Evidence]) -> Decision:
    """The decision that the evidence supports: a pure function, so that any decision can be replayed."""
    from weigh.verdict import conclude

    rows = sorted(evidence, key=lambda row: row.block)
    race = replay(lock, rows)
    return conclude(lock, race, rows)


def replay(lock: Lock, rows: Sequence[Evidence]) -> Contest:
    """Run the race again over recorded evidence of the race blocks."""
    race = lock.race()
    for block, group in by_block(rows).items():
        if block < lock.blocks.race:
            feed(race, block, group)
    return race


def feed(race: Contest, block: int, rows: Iterable[Evidence]) -> None:
    """Give one block's evidence to a race, and judge."""
    measured: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        if row.status == "measured":
            measured[row.option] = row.values
        else:
            race.fail(row.option, f"{row.status}: {row.reason}", block)
    race.add(block, measured)
    race.judge(block)


def by_block(rows: Iterable[Evidence]) -> dict[int, list[Evidence]]:
    """Evidence grouped by block, in order of blocks and then of options."""
    groups: dict[int, list[Evidence]] = {}
    for row in sorted(rows, key=lambda row: (row.block, row.option)):
        groups.setdefault(row.block, []).append(row)
    return groups
