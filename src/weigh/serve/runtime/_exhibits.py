"""What a report shows: times by batch size, how each runtime started, and where what it loads lies."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from weigh.choice import Curves, Exhibit, Line, Table

if TYPE_CHECKING:
    from weigh.serve.runtime._bench import RuntimeBench, Subject

    Times = Mapping[str, Mapping[int, list[float]]]

SECONDS = 10.0
"""About how long all options together are timed at one batch size."""
FEWEST, MOST = 8, 60
TAIL = 0.025


def exhibits(bench: RuntimeBench, subjects: Mapping[str, Subject]) -> list[Exhibit]:
    """Curves and a table of times by batch size, and a table of artefacts."""
    if not subjects:
        return []
    times = _times(bench, subjects)
    rounds = min(len(taken) for by_size in times.values() for taken in by_size.values())
    note = (
        f"{bench.task.threads} thread(s), warm, options taking turns, at least {rounds} rounds a size; intervals of "
        "95 %, by order statistics."
    )
    return [
        _curve("Median time", 0.5, times, note), _curve("p95 of times", 0.95, times, note),
        _table(bench, times, note), _made(subjects),
    ]  # fmt: skip


def _times(bench: RuntimeBench, subjects: Mapping[str, Subject]) -> dict[str, dict[int, list[float]]]:
    """Milliseconds of single runs, by option and batch size."""
    mixer, names = random.Random(0), list(subjects)
    found: dict[str, dict[int, list[float]]] = {name: {} for name in names}
    for size in bench.setting.rows:
        done, spent = 0, 0.0
        while done < FEWEST or (done < MOST and spent * (done + 1) / done < 1e3 * SECONDS):
            feed = bench.feed(size, done)
            for name in mixer.sample(names, len(names)):
                taken = bench.times(subjects[name].served, feed, 1)
                found[name].setdefault(size, []).extend(taken)
                spent += sum(taken)
            done += 1
    return found


def quantile(values: Sequence[float], q: float) -> tuple[float, float | None, float | None]:
    """The sample's q-quantile and an interval of 95 % by order statistics; an end that so few cannot give is None.

    Source: David and Nagaraja, Order Statistics (2003), section 7.1.

    >>> quantile(list(range(1, 101)), 0.5)
    (50.5, 40, 61)
    """
    import numpy as np

    ordered, n = sorted(values), len(values)
    below = 0.0
    low = high = None
    for rank in range(n + 1):  # below: the chance that fewer than `rank` of n values lie under the quantile
        if rank and below <= TAIL:
            low = ordered[rank - 1]
        if rank and high is None and 1 - below <= TAIL:
            high = ordered[rank - 1]
        below += math.comb(n, rank) * q**rank * (1 - q) ** (n - rank)
    return float(np.quantile(ordered, q)), low, high


def _curve(title: str, q: float, times: Times, note: str) -> Curves:
    lines = []
    for name, by_size in times.items():
        middle, low, high = zip(*(quantile(taken, q) for taken in by_size.values()))
        lines.append(Line(name=name, x=tuple(by_size), y=middle, low=low, high=high))
    return Curves(title=f"{title} by batch size", x="rows a run", y="ms", lines=tuple(lines), note=note)


def _table(bench: RuntimeBench, times: Times, note: str) -> Table:
    rows = []
    for name, by_size in times.items():
        for size, taken in by_size.items():
            middle, low, high = quantile(taken, 0.5)
            figures = (middle, low, high, quantile(taken, 0.95)[0], 1e3 * size / middle)
            rows.append((name, size, *(None if one is None else float(f"{one:.4g}") for one in figures)))
    columns = ("option", "rows a run", "p50, ms", "low", "high", "p95, ms", "rows/s")
    return Table(title="Times by batch size", columns=columns, rows=tuple(rows), note=note)


def _made(subjects: Mapping[str, Subject]) -> Table:
    rows = tuple(
        (name, *(float(f"{made.exact[one]:.4g}") for one in ("parity", "startup", "memory", "size")),
         made.made.sha256, str(made.made.path))
        for name, made in subjects.items()
    )  # fmt: skip
    return Table(
        title="What each runtime loads",
        columns=("option", "parity", "start-up, s", "memory, MB", "size, MB", "sha256", "file"),
        rows=rows,
        note="A cache keeps the files, which may be emptied at any time; to keep those of one: "
        "weigh.serve.runtime.convert(task, option, 'folder').",
    )
