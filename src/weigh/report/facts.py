"""What was measured, where, and how to do it again; cells of tables as text."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from weigh.choice import Table
from weigh.decision import Decision, Lock
from weigh.evidence import Evidence
from weigh.show import number, ordered, seconds


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
        ("Risk", f"alpha {lock.alpha:g}, epsilon {lock.epsilon:g}, seed {lock.seed}"),
        ("Where", "; ".join(machines) or "nowhere"),
        ("When", when or "never"),
    )  # fmt: skip


def folded(line: str) -> str:
    """A command with one flag a line, as a shell reads it."""
    words = [shlex.quote(word) for word in shlex.split(line)]
    lines: list[list[str]] = [[]]
    for word in words:
        if word.startswith("--"):
            lines.append([])
        lines[-1].append(word)
    return " \\\n  ".join(" ".join(part) for part in lines)


def spent(lock: Lock, made: Decision, rows: Sequence[Evidence]) -> Table:
    """What measuring took, by option."""
    mine: dict[str, list[Evidence]] = {s.option: [] for s in ordered(lock, made)}
    for row in rows:
        mine[row.option].append(row)
    body = tuple(
        (name, len(of), round(sum(row.seconds for row in of), 3), round(max((r.memory_mb for r in of), default=0.0)))
        for name, of in mine.items()
    )
    total = seconds(sum(row.seconds for row in rows))
    columns = ("option", "measurements", "measuring, s", "worker memory at most, MB")
    return Table(title=f"What measuring took: {total} in all", columns=columns, rows=body)


def as_text(value: Any) -> str:
    """A cell of an exhibit: numbers with four figures, what is missing as a dash."""
    if value is None:
        return "–"
    return number(value) if isinstance(value, int | float) else str(value)


def figure_columns(table: Table) -> list[bool]:
    """Which columns of a table hold numbers and nothing else."""
    columns = [[value for value in column if value is not None] for column in zip(*table.rows, strict=True)]
    return [bool(known) and all(isinstance(value, int | float) for value in known) for known in columns]
