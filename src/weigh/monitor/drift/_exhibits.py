"""What people see of a race of drift tests: power by kind, the history's own windows, and the columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from weigh.choice import Curves, Exhibit, Line, Table
from weigh.monitor.drift import Sample
from weigh.monitor.drift._bench import DriftBench, Ready

WINDOWS = 50
"""Windows of each kind in the table of power, and the most of the history's own windows that are scored."""


def exhibits(bench: DriftBench, subjects: Mapping[str, Ready]) -> Sequence[Exhibit]:
    """The tables and curves, from windows that no block uses."""
    import numpy as np

    starts, rows = own_starts(bench), np.arange(bench.task.window)
    windows = [bench.history.sample(start + rows, seed=start) for start in starts]
    own = {spec: [ready.score(window) for window in windows] for spec, ready in subjects.items()}
    return [power_table(bench, subjects, own), own_curves(bench, subjects, starts, own), column_table(bench)]


def own_starts(bench: DriftBench) -> list[int]:
    """Where the history's own windows of consecutive rows begin, evenly thinned."""
    every = range(0, bench.history.rows - bench.task.window + 1, bench.task.window)
    return list(every[:: math.ceil(len(every) / WINDOWS)])


def power_table(bench: DriftBench, subjects: Mapping[str, Ready], own: Mapping[str, Sequence[float]]) -> Table:
    """Of each test: its threshold, false alarms, and the share of drifts of each kind that it finds."""
    import numpy as np

    rng = np.random.default_rng([bench.seed, 2])
    groups: list[list[Sample]] = [[bench.quiet(rng) for _ in range(2 * WINDOWS)]]
    groups += [[bench.planted(kind, rng) for _ in range(WINDOWS)] for kind in bench.planter.columns]
    rows = []
    for spec, ready in subjects.items():
        alarms = sum(score > ready.threshold for score in own[spec])
        shares = [share([ready.alarms(window) for window in windows]) for windows in groups]
        rows.append((spec, f"{ready.threshold:.4g}", *shares, f"{alarms} of {len(own[spec])}"))
    task = bench.task
    units = {kind: "sd" if kind in ("mean", "scale") else "of rows" for kind in bench.planter.columns}
    planted = (f"{kind}, {task.size_of(kind):g} {unit} (share)" for kind, unit in units.items())
    return Table(
        title="Alarms by kind of drift",
        columns=("test", "alarms above", "quiet windows (share)", *planted, "history's own windows"),
        rows=tuple(rows),
        note=(
            f"Shares with 95 % Wilson intervals, from {2 * WINDOWS} quiet windows and {WINDOWS} of each kind of drift, "
            f"{task.window:,} rows each, against a reference of {bench.reference.rows:,}. Thresholds are calibrated "
            f"to a share of {task.false_alarm:.3g} on {task.calibration:,} other quiet windows (standard error "
            f"{_calibration_error(bench):.2g}) unless the test names one. A test that alarms no more often at a drift "
            "than in quiet windows is blind to it. The last column counts alarms in windows of consecutive rows of the "
            "history, which are as alike as its seasons are."
        ),
    )


def _calibration_error(bench: DriftBench) -> float:
    rate = bench.task.false_alarm
    return math.sqrt(rate * (1.0 - rate) / bench.task.calibration)


def share(alarms: Sequence[bool]) -> str:
    """The share of alarms with its 95 % Wilson interval.

    >>> share([True, False, False, True])
    '0.50 [0.15, 0.85]'
    """
    n, z = len(alarms), 1.959964
    rate = sum(alarms) / n
    middle = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return f"{rate:.2f} [{max(middle - half, 0.0):.2f}, {min(middle + half, 1.0):.2f}]"


def own_curves(
    bench: DriftBench, subjects: Mapping[str, Ready], starts: Sequence[int], own: Mapping[str, Sequence[float]]
) -> Curves:
    """Scores over the history, in thresholds."""
    moments = tuple(bench.history.moments[start] for start in starts)
    lines = [
        Line(name=spec, x=moments, y=tuple(score / ready.threshold for score in own[spec]))
        for spec, ready in subjects.items()
        if ready.threshold > 0
    ]
    return Curves(
        title="Scores over the history's own windows",
        x=f"first row of the window ({bench.task.time or 'row number'})",
        y="score, in thresholds",
        lines=tuple(lines),
        note="Above 1 the test alarms. What rises here rises with the seasons of the history, with no drift planted.",
    )


def column_table(bench: DriftBench) -> Table:
    """What is watched, as what, and what is not."""
    import numpy as np

    history = bench.history
    gaps = np.isnan(history.numbers).mean(axis=0)
    rows: list[tuple[str, str, float | None, str]] = [
        (name, "number", round(float(gap), 4), "") for name, gap in zip(history.number_names, gaps)
    ]
    empty = (history.codes == 0).mean(axis=0)
    for name, gap, levels in zip(history.category_names, empty, history.levels):
        rows.append((name, f"category, {levels - 1} levels", round(float(gap), 4), ""))
    rows += [(name, "not watched", None, reason) for name, reason in history.unwatched.items()]
    return Table(title="Columns", columns=("column", "watched as", "missing (share)", "why not"), rows=tuple(rows))
