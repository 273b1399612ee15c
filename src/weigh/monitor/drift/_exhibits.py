"""What people see of a race of drift tests: is the rate held, power by kind, the history's own windows, the columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weigh.choice import Curves, Exhibit, Line, Table
from weigh.monitor.drift._bench import Case, DriftBench, Ready
from weigh.monitor.drift._levels import Level, future_rate, scores_of
from weigh.scale.interval import wilson

if TYPE_CHECKING:
    from weigh.monitor.drift._sample import Floats, Sample

WINDOWS = 50
"""Windows of each kind in the table of power, and the most of the history's own windows that are scored."""
LATER = 3
"""One part in so many of the history, the last, is held against the rest."""


def exhibits(bench: DriftBench, subjects: Mapping[str, Ready]) -> Sequence[Exhibit]:
    """The tables and curves; windows that no block uses, where there are more."""
    held, curves = rate_table(bench, subjects), own_curves(bench, subjects)
    return [held, power_table(bench, subjects), curves, column_table(bench)]


def rate_table(bench: DriftBench, subjects: Mapping[str, Ready]) -> Table:
    """How well the rate is held: over windows like those that set the thresholds, and over those that lie later."""
    import numpy as np

    rng = np.random.default_rng([bench.seed, 2])
    windows = [bench.quiet(rng) for _ in range(4 * WINDOWS)]
    later, which = _later(bench)
    rows = []
    for spec, ready in subjects.items():
        alarms = share([ready.alarms(case) for case in windows])
        rows.append((spec, str(ready.level(windows[0])), alarms, later(ready)))
    task, calibrated = bench.task, _calibrated(bench)
    low, high = future_rate(calibrated, task.false_alarm)
    rough = ""
    if calibrated * task.false_alarm < 5:
        rough = (
            f" So few windows know a rate of {task.false_alarm:.3g} roughly: smaller windows, a longer history or a "
            "larger rate would tell more."
        )
    return Table(
        title="False alarms",
        columns=("test", "alarms above", "quiet windows (share)", which),
        rows=tuple(rows),
        note=(
            f"The task allows {task.false_alarm:.3g}. Levels rest on {calibrated:,} quiet windows of {task.window:,} "
            f"rows ({_kept(bench)}), none of which is judged by them or shares a row with the reference: 90 % of such "
            f"levels hold a rate between {low:.2g} and {high:.2g}.{rough} The last column is not part of the race; "
            "where it is high, the history itself changes with time."
        ),
        always=bool(task.time),
    )


def _kept(bench: DriftBench) -> str:
    together = bench.task.rows_together
    if together == 1:
        return "rows drawn one by one, as if their order meant nothing"
    if together >= bench.task.window:
        return "each a run of consecutive rows"
    return f"of runs of {together:,} consecutive rows"


def _calibrated(bench: DriftBench) -> int:
    """How many quiet windows a level rests on."""
    windows = bench.windows(0)
    return windows - windows // len(bench.splits[0].parts)


def _later(bench: DriftBench) -> tuple[Any, str]:
    """What counts a test's alarms in windows of consecutive rows, and what these windows are."""
    starts = own_starts(bench)
    windows = [bench.history.sample(_rows(bench, start), seed=start) for start in starts]
    if not bench.splits[0].whole:

        def as_they_lie(ready: Ready) -> str:
            cases = [Case(0, 0, window) for window in windows]
            return f"{sum(ready.alarms(case) for case in cases)} of {len(cases)}"

        return as_they_lie, "history's own windows, as they lie"
    return _forward(bench), "last third of the history, by levels of the rest"


def _forward(bench: DriftBench) -> Any:
    """Counts alarms in the last part of the history by a reference and levels from before."""
    import numpy as np

    task, history = bench.task, bench.history
    starts = np.arange(history.rows // task.window) * task.window
    first, last = np.split(starts, [len(starts) - len(starts) // LATER])
    first = np.random.default_rng([bench.seed, 3]).permutation(first)[: task.calibration]
    size = max(1, min(task.reference // task.window, len(first) // 3))
    reference = history.sample(np.concatenate([_rows(bench, start) for start in first[:size]]))
    quiet = [history.sample(_rows(bench, start), seed=int(start)) for start in first[size:]]
    judged = [history.sample(_rows(bench, start), seed=int(start)) for start in last[:: math.ceil(len(last) / WINDOWS)]]

    def count(ready: Ready) -> str:
        if (len(quiet) + 1) * task.false_alarm < 1:
            return f"{len(quiet)} windows before: too few"
        state = ready.test.fit(reference)

        def scores(windows: Sequence[Sample]) -> Floats:
            return np.stack([scores_of(ready.test, state, window) for window in windows])

        level = Level.of(ready.test, lambda: scores(quiet), task.false_alarm)
        return f"{sum(level.alarms(one) for one in scores(judged))} of {len(judged)}"

    return count


def _rows(bench: DriftBench, start: int) -> Any:
    import numpy as np

    return np.arange(start, start + bench.task.window)


def own_starts(bench: DriftBench) -> list[int]:
    """Where the history's own windows of consecutive rows begin, evenly thinned; of whole windows, no reference's."""
    split = bench.splits[0]
    if split.whole:
        every = sorted(int(start) for part in split.parts for start in part)
    else:
        every = list(range(0, bench.history.rows - bench.task.window + 1, bench.task.window))
    return every[:: math.ceil(len(every) / WINDOWS)]


def power_table(bench: DriftBench, subjects: Mapping[str, Ready]) -> Table:
    """Of each test the share of drifts of each kind that it finds."""
    import numpy as np

    rng = np.random.default_rng([bench.seed, 4])
    groups = [[bench.planted(kind, rng) for _ in range(2 * WINDOWS)] for kind in bench.planter.columns]
    rows = [
        (spec, *(share([ready.finds(case) for case in cases]) for cases in groups)) for spec, ready in subjects.items()
    ]
    task = bench.task
    units = {kind: "sd" if kind in ("mean", "scale") else "of rows" for kind in bench.planter.columns}
    return Table(
        title="Drifts found, by kind",
        columns=("test", *(f"{kind}, {task.size_of(kind):g} {unit} (share)" for kind, unit in units.items())),
        rows=tuple(rows),
        note=(
            f"Shares with 95 % Wilson intervals, from {2 * WINDOWS} windows of each kind, {task.window:,} rows each, "
            f"against a reference of {bench.references[0].rows:,}. A test that alarms no more often at a drift than in "
            f"quiet windows, about {task.false_alarm:.3g}, is blind to it."
        ),
    )


def share(alarms: Sequence[bool]) -> str:
    """The share of alarms with its 95 % Wilson interval.

    >>> share([True, False, False, True])
    '0.50 [0.15, 0.85]'
    """
    low, high = wilson(sum(alarms), len(alarms))
    return f"{sum(alarms) / len(alarms):.2f} [{low:.2f}, {high:.2f}]"


def own_curves(bench: DriftBench, subjects: Mapping[str, Ready]) -> Curves:
    """How far the history's own windows are, in thresholds."""
    starts = own_starts(bench)
    where = {int(start): part for part, starts in enumerate(bench.splits[0].parts) for start in starts}
    whole = bench.splits[0].whole
    cases = [
        Case(0, where[start] if whole else 0, bench.history.sample(_rows(bench, start), seed=start)) for start in starts
    ]
    rated = {spec: ([ready.level(case) for case in cases], ready) for spec, ready in subjects.items()}
    lines = [
        Line(
            name=spec,
            x=tuple(bench.history.moments[start] for start in starts),
            y=tuple(level.rating(ready.scores(case)) / level.level for level, case in zip(levels, cases)),
        )
        for spec, (levels, ready) in rated.items()
        if all(level.level > 0 for level in levels)
    ]
    return Curves(
        title="The history's own windows",
        x=f"first row of the window ({bench.task.time or 'row number'})",
        y="rating, in thresholds",
        lines=tuple(lines),
        note="Above 1 the test alarms. What rises here rises with the seasons of the history, with no drift planted.",
        level=1.0,
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
