"""Results as text for terminals: the one place where intervals, decisions and explanations become words and tables."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from weigh.decision import Check, Decision, Estimate, Lock, Outcome, Standing

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
    """Where a decision is kept, and what to type next."""

    id: str
    record: str
    ledger: str
    again: str


def console(error: bool = False) -> Console:
    """A console that adds nothing to what it is given; 100 columns wide (or COLUMNS) when it is no terminal."""
    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS") else _PLAIN_WIDTH
    return Console(stderr=error, width=width, markup=False, highlight=False, emoji=False)


def put(on: Console, what: RenderableType) -> None:
    """Print; without the blanks at the end of lines where nobody but a program or a file reads."""
    if on.is_terminal:
        on.print(what)
        return
    with on.capture() as captured:
        on.print(what)
    for line in captured.get().splitlines():
        on.print(line.rstrip(), soft_wrap=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[RenderableType]]) -> Table:
    """A table with a head and no frame; its first column is never folded."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for index, column in enumerate(columns):
        made.add_column(column, overflow="fold", no_wrap=index == 0, ratio=None)
    for row in rows:
        made.add_row(*row)
    return made


def grid(rows: Iterable[Sequence[RenderableType]]) -> Table:
    """Rows without a head: the first column stays on one line, the last folds."""
    made = Table.grid(padding=(0, 2))
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def sections(on: Console, parts: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Headings with lines under them."""
    for title, items in parts:
        on.print(Text(f"\n{title}", "bold"))
        for item in items:
            put(on, Padding(Text(item), (0, 0, 0, 2)))


# numbers


def number(value: float | None, width: float = 0.0) -> str:
    """A number with as many digits as an interval of that width supports; four where there is none.

    >>> number(0.94213, 0.014), number(1234567.0), number(0.00001234), number(None)
    ('0.942', '1,234,567', '1.234e-05', '?')
    """
    if value is None:
        return "?"
    if width > 0 and 1e-4 < width < 1e7 and abs(value) < 1e7:
        digits = max(0, 1 - math.floor(math.log10(width)))
        return f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: no minus before a zero
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def interval(value: Estimate, percent: bool = False) -> str:
    """An estimate with its interval: ``0.942 [0.935, 0.949]``; ``?`` stands for an end that is not known.

    >>> one = dict(n=50, method="betting", exact=True, assumption="")
    >>> interval(Estimate(estimate=0.94213, low=0.9351, high=0.9492, **one))
    '0.942 [0.935, 0.949]'
    >>> interval(Estimate(estimate=0.12, low=0.03, high=None, **one), percent=True)
    '12% [3%, ?]'
    """
    return ends(value.estimate, value.low, value.high, percent)


def ends(middle: float | None, low: float | None, high: float | None, percent: bool = False) -> str:
    """The text of `interval`, from its three numbers; an end that is None or infinite is not known."""
    factor, sign = (100.0, "%") if percent else (1.0, "")
    middle, low, high = (None if x is None or not math.isfinite(x) else x * factor for x in (middle, low, high))
    if middle is None and low is None and high is None:
        return "not known"
    if low == high is not None:
        return number(middle) + sign
    width = high - low if low is not None and high is not None else 0.0
    bounds = ", ".join("?" if end is None else number(end, width) + sign for end in (low, high))
    return f"{number(middle, width)}{sign} [{bounds}]"


def gain(lock: Lock, value: Estimate, flip: bool = False) -> str:
    """How much better one option is than another in the objective: in its unit; in percent for times and quantiles."""
    if flip:
        middle, low, high = (None if x is None else -x for x in (value.estimate, value.high, value.low))
        value = value.model_copy(update={"estimate": middle, "low": low, "high": high})
    measure = lock.measure(lock.objective)
    percent = measure.kind in ("time", "quantile")
    return interval(value, percent) + ("" if percent else f" {measure.unit}")


def seconds(value: float) -> str:
    """A length of time, roughly.

    >>> seconds(0.004), seconds(75), seconds(7300)
    ('4 ms', '75 s', '2 h 2 min')
    """
    if value < 1:
        return f"{value * 1e3:.0f} ms"
    if value < 120:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    if value < 7200:
        return f"{value / 60:.0f} min"
    return f"{value // 3600:.0f} h {value % 3600 / 60:.0f} min"


# a decision


def answer(on: Console, made: Decision) -> None:
    """The answer on one line; folded between words on a terminal."""
    on.print(Text(made.answer, "bold"), soft_wrap=not on.is_terminal)


def decision(on: Console, lock: Lock, made: Decision, footing: Footing) -> None:
    """A decision: the answer, the options with what was measured, why, how sure, and where it is kept."""
    answer(on, made)
    note = f"\nWhat was measured (every interval holds at {1 - made.alpha:.0%}, whenever one looks)"
    parts: list[RenderableType] = [Text(note, "bold")]
    for one in measured(lock, made, on.width):
        parts += [one, Text()]
    put(on, Group(*parts, Text("Why", "bold"), reasons(made, on.width), Text(), _footer(made, footing)))
    on.print(Text("\nThe same run again:", "bold"))
    on.print(f"  {footing.again}", soft_wrap=True)


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
    names = _by_weight(lock)
    cells = {name: [interval(s.measured[name]) if name in s.measured else "" for s in standings] for name in names}
    heads = {name: f"{name} ({unit})" if (unit := lock.measure(name).unit) else name for name in names}
    widths = {name: max(len(text) for text in (*cells[name], *heads[name].split())) + 3 for name in names}
    options = [name_of(standing, width) for standing in standings]
    first = max(len(line) for text in options for line in text.plain.splitlines())
    tables: list[Table] = []
    for group in _packed(names, widths, width - first - 14, width - first):
        outcome = [] if tables else ["outcome"]
        made_table = table(["option", *outcome], [])
        for name in group:
            made_table.add_column(heads[name], max_width=max(widths[name], 8))
        for row, standing in enumerate(standings):
            style = STYLES[standing.outcome]
            head = [options[row], *([Text(standing.outcome, style)] if outcome else [])]
            made_table.add_row(*head, *(Text(cells[name][row], style) for name in group))
        tables.append(made_table)
    return tables


def name_of(standing: Standing, width: int) -> Text:
    """An option in its outcome's colour, on two lines where it would take much of the width."""
    text = standing.option
    if len(text) > 2 * width // 5:
        text = text.replace(":", ":\n  ", 1).replace(",", ",\n  ")
    return Text(text, STYLES[standing.outcome])


def _by_weight(lock: Lock) -> list[str]:
    wanted = [lock.objective, *(c.measure for c in lock.constraints), lock.cost, *(m.name for m in lock.measures)]
    return list(dict.fromkeys(wanted))


def _packed(names: Sequence[str], widths: dict[str, int], first_room: int, room: int) -> list[list[str]]:
    groups: list[list[str]] = []
    left = 0
    for name in names:
        if not groups or widths[name] > left:
            left = room if groups else first_room
            groups.append([])
        groups[-1].append(name)
        left -= widths[name]
    return groups


def reasons(made: Decision, width: int) -> Table:
    """Why each option was chosen or not."""
    made_table = table(["option"], [])
    made_table.add_column("blocks", justify="right")
    made_table.add_column("why")
    for standing in sorted(made.standings, key=lambda s: (ORDER.index(s.outcome), -(s.dropped_at or 0))):
        made_table.add_row(name_of(standing, width), f"{standing.blocks:,}", standing.why)
    return made_table


def _footer(made: Decision, footing: Footing) -> RenderableType:
    saved = f" of {made.exhaustive:,} that measuring everything takes" if made.exhaustive > made.measurements else ""
    rows = [("Constraint", check) for check in _chosen_checks(made)]
    rows.append(("Confirmation", _confirmation(made)))
    rows.append(("Measured", f"{made.measurements:,} trials{saved}, on {made.blocks:,} blocks"))
    none = ["none: every interval here holds for finite samples"]
    rows += [("Approximation", text) for text in approximations(made) or none]
    rows += [("Record", footing.record)] if footing.record else []
    rows.append(("Evidence", f"{footing.ledger} (decision {footing.id})"))
    rows.append(("Next", f"weigh explain {footing.id}    weigh report {footing.id}"))
    return grid([(Text(name, "bold"), value) for name, value in rows])


def _chosen_checks(made: Decision) -> list[str]:
    if made.chosen is None:
        return list(made.constraints)
    return [check(one) for one in made.standing(made.chosen).checks]


def check(one: Check) -> str:
    """A constraint, whether it is met, and the interval of what it bounds."""
    words = {True: "met", False: "broken", None: "not known yet"}
    what = "the ratio" if "* baseline" in one.constraint else "the difference" if "baseline" in one.constraint else "it"
    return f"{one.constraint}: {words[one.met]}, {what} is {interval(one.interval)}"


def _confirmation(made: Decision) -> str:
    count = f" ({made.confirmation.blocks:,} blocks)" if made.confirmation.blocks else ""
    return f"{made.confirmation.status}: {made.confirmation.text}{count}"


def approximations(made: Decision, every: bool = False) -> list[str]:
    """The methods that are not exact in finite samples (or every method), once each, with the measures they serve."""
    served: dict[str, list[str]] = {}
    for text in made.approximations:
        name, _, method = text.partition(": ")
        if every or "(asymptotic)" in method:
            served.setdefault(method, []).append(name)
    return [f"{', '.join(dict.fromkeys(names))}: {method}" for method, names in served.items()]
