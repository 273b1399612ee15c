"""What was measured, where, and how to do it again; cells of tables as text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from weigh.choice import Table
from weigh.columns import cells, merged
from weigh.decision import Decision, Lock
from weigh.evidence import Evidence
from weigh.show import ordered, seconds

_A_FIGURE = re.compile(r"–|[-+]?[\d.,]+ ?(%|µs|ms|s|min|h)?( \[[^\]]*\])?")


def facts(lock: Lock, made: Decision, rows: Sequence[Evidence]) -> tuple[tuple[str, str], ...]:
    machines = dict.fromkeys(
        f"{row.where.machine}, {row.where.cores} cores, Python {row.where.python}, weigh {row.where.weigh}"
        for row in rows
    )
    times = sorted(row.at for row in rows)
    when = f"{times[0]} to {times[-1]}" if times and times[0] != times[-1] else "".join(times[:1])
    saved = 1 - made.measurements / made.exhaustive if made.exhaustive else 0.0
    return (
        ("Lock", made.lock),
        ("Evidence", f"{made.evidence} ({made.rows:,} rows)"),
        ("Task", lock.task_fingerprint),
        ("Measured", f"{made.measurements:,} of the {made.exhaustive:,} measurements that measuring every option on "
         f"every block takes ({saved:.0%} saved)"),
        ("Blocks", f"{made.blocks:,} of {lock.blocks.race:,} raced, {made.confirmation.blocks:,} fresh"),
        ("Budget", str(lock.budget) or "none: until settled"),
        ("Risk", f"alpha {lock.alpha:g}, epsilon {lock.indifference}, seed {lock.seed}"),
        ("Where", "; ".join(machines) or "nowhere"),
        ("When", when or "never"),
    )  # fmt: skip


def spent(lock: Lock, made: Decision, rows: Sequence[Evidence]) -> Table:
    """What the trials took, by option."""
    mine: dict[str, list[Evidence]] = {s.option: [] for s in ordered(lock, made)}
    for row in rows:
        mine[row.option].append(row)
    body = tuple(
        (name, len(of), seconds(sum(row.seconds for row in of)), round(max((r.memory_mb for r in of), default=0.0)))
        for name, of in mine.items()
    )
    return Table(
        title=f"What the trials took: {seconds(sum(row.seconds for row in rows))} in all",
        columns=("option", "trials", "time", "worker memory at most, MB"),
        rows=body,
        note="Opening the task and preparing an option (a conversion, a replay) come on top: they are not timed.",
    )


def as_shown(table: Table) -> tuple[Table, list[bool]]:
    """A table with each figure and its interval in one cell, all cells as text; and which columns hold figures."""
    table = merged(table)
    columns = [cells(column) for column in zip(*table.rows, strict=True)]
    rows = tuple(zip(*columns, strict=True)) if columns else ()
    return table.model_copy(update={"rows": rows}), [all(map(_A_FIGURE.fullmatch, column)) for column in columns]


def kept(text: str) -> str:
    """The text with its intervals in one piece each, wherever lines are folded."""
    folded = re.sub(r"\[[^\[\]<>]{1,40}\]", lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), text)
    return type(text)(folded)  # markup stays markup
