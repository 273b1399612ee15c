"""Results as text for terminals: the one place where intervals, decisions and explanations become words and tables."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from weigh.choice import Exhibit, Measure
from weigh.choice import Table as ExhibitTable
from weigh.columns import Column, beside, exhibit, grid
from weigh.columns import table as table
from weigh.commands import folded, typed
from weigh.decision import LEFT_OUT, Check, Decision, Estimate, Lock, Outcome, Standing
from weigh.printable import printable
from weigh.scale.figures import ends as ends
from weigh.scale.figures import number as number
from weigh.scale.figures import with_unit
from weigh.server.settings import follows

ORDER: tuple[Outcome, ...] = ("chosen", "leading", "tied", "undecided", "dominated", "violates", "failed")
STYLES = {
    "chosen": "bold green",
    "leading": "green",
    "tied": "green",
    "undecided": "yellow",
    "dominated": "dim",
    "violates": "red",
    "failed": "red",
}
_PLAIN_WIDTH = 100


class Footing(NamedTuple):
    """Where a decision is kept, and what to type to take it again, in which folder."""

    id: str
    record: str
    ledger: str
    again: str
    folder: str = ""


class _Printer(Console):
    """Prints what came from outside without obeying it: control characters in a text never reach the terminal."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield segment._replace(text="\n".join(map(printable, segment.text.split("\n"))))


def console(error: bool = False) -> Console:
    """A console that adds nothing to what it is given; 100 columns wide (or COLUMNS) when it is no terminal."""
    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS") else _PLAIN_WIDTH
    return _Printer(stderr=error, width=width, markup=False, highlight=False, emoji=False)


def put(on: Console, what: RenderableType) -> None:
    """Print; without the blanks at the end of lines where nobody but a program or a file reads."""
    if on.is_terminal:
        on.print(what)
        return
    with on.capture() as captured:
        on.print(what)
    for line in captured.get().splitlines():
        on.print(line.rstrip(), soft_wrap=True)


def sections(on: Console, parts: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Headings with lines under them."""
    for title, items in parts:
        on.print(Text(f"\n{title}", "bold"))
        for item in items:
            put(on, Padding(Text(item), (0, 0, 0, 2)))


# figures


def interval(value: Estimate, percent: bool = False) -> str:
    """An estimate with its interval: ``0.942 [0.935, 0.949]``; ``?`` stands for an end that is not known.

    >>> one = dict(n=50, method="betting", exact=True, assumption="")
    >>> interval(Estimate(estimate=0.94213, low=0.9351, high=0.9492, **one))
    '0.942 [0.935, 0.949]'
    >>> interval(Estimate(estimate=0.12, low=0.03, high=None, **one), percent=True)
    '12% [3%, ?]'
    """
    return ends(value.estimate, value.low, value.high, percent)


def known(measure: Measure, value: Estimate, compared: bool = False) -> Estimate:
    """The estimate without the ends that say nothing: an interval as wide as a mean's whole range (or difference's), or
    from 0 to no known end where nothing is below 0."""
    nothing = {"low": None, "high": None}
    if measure.compared_by_ratio:
        return value.model_copy(update=nothing) if value.low == 0 and value.high is None else value
    span = measure.high - measure.low
    low, high = (-span, span) if compared else (measure.low, measure.high)
    if measure.kind != "mean" or value.low is None or value.high is None or value.low > low or value.high < high:
        return value
    return value.model_copy(update=nothing)


def level(measure: Measure, value: Estimate) -> str:
    """What was measured of an option, as it stands in a table under the measure's name and unit."""
    return interval(known(measure, value))


def versus(measure: Measure, value: Estimate) -> str:
    """An option against the baseline: a ratio for times and quantiles, else a difference.

    >>> latency = Measure(name="latency", unit="ms", better="lower", kind="time", meaning="")
    >>> about = dict(n=50, method="signs", exact=False, assumption="")
    >>> versus(latency, Estimate(estimate=2.348, low=2.1, high=2.5, **about))
    '2.35 times [2.10, 2.50]'
    >>> versus(latency, Estimate(estimate=2.348, low=0.0, high=None, **about))
    '2.35 times (no interval)'
    """
    if measure.compared_by_ratio:
        figure, _, between = interval(known(measure, value)).partition(" ")
        return f"{figure} times {between}".rstrip()
    return f"a difference of {with_unit(interval(known(measure, value, compared=True)), measure.unit)}"


def gain(lock: Lock, value: Estimate, flip: bool = False) -> str:
    """How much better one option is than another in the objective: in its unit; in percent for times and quantiles."""
    measure = lock.measure(lock.objective)
    value = known(measure, value, compared=True)
    if measure.compared_by_ratio and value.low is None and value.high is not None and value.high >= 1:
        value = value.model_copy(update={"high": None})  # no time is shorter than none
    if flip:
        middle, low, high = (None if x is None else -x for x in (value.estimate, value.high, value.low))
        value = value.model_copy(update={"estimate": middle, "low": low, "high": high})
    percent = measure.compared_by_ratio
    return interval(value, percent) if percent else with_unit(interval(value), measure.unit)


def head(measure: Measure) -> str:
    """A measure's name with its unit, over a column.

    >>> head(Measure(name="power", unit="of drifts", better="higher", kind="mean", meaning=""))
    'power (share of drifts)'
    """
    unit = f"share {measure.unit}" if measure.unit.startswith("of ") else measure.unit
    return f"{measure.name} ({unit})" if unit else measure.name


def seconds(value: float) -> str:
    """A length of time, roughly.

    >>> seconds(0.00004), seconds(0.004), seconds(75), seconds(7300)
    ('40 µs', '4 ms', '75 s', '2 h 2 min')
    """
    if 0 < value < 1e-3:
        return f"{value * 1e6:.0f} µs"
    if value < 1:
        return f"{value * 1e3:.0f} ms"
    if value < 120:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    if value < 7200:
        return f"{value / 60:.0f} min"
    return f"{value // 3600:.0f} h {value % 3600 / 60:.0f} min"


def count(of: int, noun: str) -> str:
    """A number of things: ``1 block``, ``1,200 blocks``."""
    return f"{of:,} {noun}{'' if of == 1 else 's'}"


def bounded(lock: Lock, constraint: str) -> str:
    """A constraint as it was typed, with the unit of its bound where it has a short one."""
    one = next((c for c in lock.constraints if str(c) == constraint), None)
    unit = "" if one is None or one.relative == "ratio" else lock.measure(one.measure).unit
    return f"{constraint} {unit}" if re.fullmatch(r"[A-Za-zµ%]{1,3}", unit) else constraint


def check(lock: Lock, one: Check) -> str:
    """A constraint, whether it is met, and the interval of what it bounds."""
    words = {True: "met", False: "broken", None: "not known yet"}
    bound = next(c for c in lock.constraints if str(c) == one.constraint)
    what = {"ratio": "the ratio", "difference": "the difference", "": "it"}[bound.relative]
    measure = lock.measure(bound.measure)
    text = interval(known(measure, one.interval, compared=bool(bound.relative)))
    text = text if bound.relative == "ratio" else with_unit(text, measure.unit)
    return f"{bounded(lock, one.constraint)}: {words[one.met]}, {what} is {text}"


def left(made: Decision, standing: Standing) -> str:
    """When an option left the race; empty for one that did not."""
    if standing.dropped_at is None:
        return ""
    blocks = standing.dropped_at + 1
    if standing.outcome == "failed":
        return f"in block {blocks:,}"
    return f"{'when the race ended, ' if blocks >= made.blocks else ''}after {count(blocks, 'block')}"


# a decision


def answer(on: Console, made: Decision) -> None:
    """The answer on one line; folded between words on a terminal."""
    on.print(Text(made.answer, "bold"), soft_wrap=not on.is_terminal)


def decision(on: Console, lock: Lock, made: Decision, footing: Footing, exhibits: Sequence[Exhibit] = ()) -> None:
    """A decision: the answer, what was measured, what always goes with it, why, how sure, and where it is kept."""
    answer(on, made)
    note = f"\nWhat was measured (each interval by itself holds at {100 - 100 * made.alpha:.4g}%, whenever one looks; "
    note += (
        "those under Why and Constraint hold together and are wider; no interval, or ?: too few blocks, or too alike)"
    )
    parts: list[RenderableType] = [Text(note, "bold")]
    for one in measured(lock, made, on.width):
        parts += [one, Text()]
    for each in always(exhibits):
        parts += [*exhibit(each, on.width), Text()]
    put(on, Group(*parts, Text("Why", "bold"), reasons(lock, made, on.width), Text(), _footer(lock, made, footing)))
    where = f", {footing.folder}" if footing.folder else ""
    on.print(Text(f"\nThe same run again{where}:", "bold"))
    on.print("  " + folded(footing.again, on.width - 4).replace("\n", "\n  "), soft_wrap=True)


def always(exhibits: Sequence[Exhibit]) -> list[ExhibitTable]:
    """The tables that belong to the answer."""
    return [one for one in exhibits if isinstance(one, ExhibitTable) and one.always]


def ordered(lock: Lock, made: Decision) -> list[Standing]:
    """Standings, the chosen one first, then by outcome and objective."""
    sign = 1.0 if lock.measure(lock.objective).better == "lower" else -1.0

    def place(standing: Standing) -> tuple[int, float]:
        estimate = standing.measured.get(lock.objective)
        known = estimate is not None and estimate.estimate is not None
        return ORDER.index(standing.outcome), sign * estimate.estimate if known else math.inf  # type: ignore[union-attr, operator]

    return sorted(made.standings, key=place)


def measured(lock: Lock, made: Decision, width: int) -> list[Table]:
    """What was measured of every option, the measures that matter first, in as many tables as the width asks for."""
    standings = ordered(lock, made)
    styles = [STYLES[standing.outcome] for standing in standings]
    columns = [Column("outcome", [Text(s.outcome, style) for s, style in zip(standings, styles, strict=True)])]
    for measure in measures(lock):
        texts = [level(measure, s.measured[measure.name]) if measure.name in s.measured else "" for s in standings]
        columns.append(Column(head(measure), [Text(*cell) for cell in zip(texts, styles, strict=True)]))
    return beside(Column("option", [name_of(standing, width) for standing in standings]), columns, width)


def name_of(standing: Standing, width: int) -> Text:
    """An option in its outcome's colour, on two lines where it would take much of the width."""
    text = standing.option
    if len(text) > width // 4:
        text = text.replace(":", ":\n  ", 1).replace(",", ",\n  ")
    return Text(text, STYLES[standing.outcome])


def measures(lock: Lock) -> list[Measure]:
    """The measures, those that matter first."""
    names = [lock.objective, *(c.measure for c in lock.constraints), lock.cost, *(m.name for m in lock.measures)]
    return [lock.measure(name) for name in dict.fromkeys(names)]


def reasons(lock: Lock, made: Decision, width: int) -> Table:
    """Why each option was chosen or not."""
    made_table = table(["option"], [])
    made_table.add_column("blocks", justify="right")
    made_table.add_column("why")
    for standing in ordered(lock, made):
        made_table.add_row(name_of(standing, width), f"{standing.blocks:,}", standing.why)
    return made_table


def _footer(lock: Lock, made: Decision, footing: Footing) -> RenderableType:
    saved = f" of {made.exhaustive:,} that measuring everything takes" if made.exhaustive > made.measurements else ""
    beside = f"; {made.rows - made.measurements:,} more on fresh blocks" if made.rows > made.measurements else ""
    rows = [("Constraint", check) for check in _chosen_checks(lock, made)]
    rows += [("Confirmation", _confirmation(made))] if made.chosen else []
    rows.append(("Measured", f"{count(made.measurements, 'trial')}{saved}, on {count(made.blocks, 'block')}{beside}"))
    none = ["none: every interval that the answer rests on holds for finite samples"]
    used = {lock.objective, *(constraint.measure for constraint in lock.constraints)}
    rows += [("Approximation", text) for text in approximations(made, of=used) or none]
    rows += [("Record", footing.record)] if footing.record else []
    rows.append(("Evidence", f"{footing.ledger} (decision {footing.id})"))
    further = [["explain", footing.id], ["report", footing.id]]
    if made.chosen and lock.choice.startswith("compress/"):
        further.append(["apply", footing.id, "--to", "chosen"])
    if made.chosen and follows(lock.choice, made.chosen):
        further.append(["serve", footing.id])
    rows += [("Next", typed(*words, ledger=footing.ledger)) for words in further]
    heads = [name if not i or rows[i - 1][0] != name else "" for i, (name, _) in enumerate(rows)]
    return grid([(Text(name, "bold"), value) for name, (_, value) in zip(heads, rows, strict=True)])


def _chosen_checks(lock: Lock, made: Decision) -> list[str]:
    if made.chosen is None:
        return [bounded(lock, text) for text in made.constraints]
    return [check(lock, one) for one in made.standing(made.chosen).checks]


def _confirmation(made: Decision) -> str:
    blocks = f" ({count(made.confirmation.blocks, 'block')})" if made.confirmation.blocks else ""
    return f"{made.confirmation.status}: {made.confirmation.text}{blocks}"


def approximations(made: Decision, every: bool = False, of: Collection[str] = ()) -> list[str]:
    """What is not exact in finite samples, or left out (or every method), once each, with the measures it touches.

    Args:
        of: only what touches these measures; all when empty.
    """
    served: dict[str, list[str]] = {}
    for text in made.approximations:
        name, _, method = text.partition(": ")
        if of and name not in of:
            continue
        if every or "(asymptotic)" in method or method.startswith(LEFT_OUT):
            served.setdefault(method, []).append(name)
    return [f"{', '.join(dict.fromkeys(names))}: {method}" for method, names in served.items()]
