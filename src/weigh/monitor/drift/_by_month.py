"""Drift of each column over time, by the test that was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from weigh.choice import Curves, Line, UsageError
from weigh.monitor.drift._threads import one_thread

if TYPE_CHECKING:
    from weigh.monitor.drift import DriftTest
    from weigh.monitor.drift._bench import DriftBench
    from weigh.monitor.drift._history import History
    from weigh.monitor.drift._levels import Level
    from weigh.monitor.drift._sample import Floats, Ints, Sample

WINDOWS = 5
"""Windows that are scored in each month, spread evenly over it."""


def drift_by_month(
    test: DriftTest,
    history: Path,
    columns: Sequence[str],
    time: str,
    until: str,
    *,
    window: int = 1000,
    stretch: int | None = None,
    false_alarm: float = 0.05,
    seed: int = 0,
) -> Curves:
    """How far each column is, month by month, from what it was before a day.

    Windows of consecutive rows of each month are held against the rows before `until`, as multiples of what raises an
    alarm: a level that a share `false_alarm` of windows from before `until` exceeds in any column, or the test's own
    threshold. A month's figure is the median of its windows.

    Args:
        test: the drift test; one that looks at all columns at once is fitted anew to each column.
        history: the table.
        columns: columns to score; those that cannot be scored are named in the note, with the reason.
        time: the column of dates or datetimes that orders the table; months are as it writes them (UTC in UTC).
        until: the first day that is not part of the reference, as YYYY-MM-DD.
        window: rows a window; months of fewer rows are left out, and named in the note.
        stretch: rows that stay together in the windows that set levels; by default a whole window.
        false_alarm: share of quiet windows that may alarm.
        seed: of the draws.

    Raises:
        UsageError: `until` is no date, no row lies before it, or the column of time holds no dates.
        DataError: too few rows lie before `until` to hold the rate, or a column is not there.
    """
    from weigh.monitor.drift import DriftTask
    from weigh.monitor.drift._bench import DriftBench
    from weigh.monitor.drift._history import history_of

    _check_day(until)
    task = DriftTask(
        history=history, time=time, window=window, stretch=stretch, false_alarm=false_alarm, rows=10_000_000
    )
    made = history_of(task.model_copy(update={"columns": tuple(columns)}))
    before, months = _months(made, until)
    bench = DriftBench(task, seed, made.part(before))
    with one_thread():
        gauge = _gauge(bench, test)
    large = {month: rows for month, rows in months.items() if len(rows) >= window}
    found = {month: _month(gauge, bench.history, made, rows, window) for month, rows in large.items()}
    lines = tuple(
        Line(name=name, x=tuple(large), y=tuple(found[month].get(name) for month in large))
        for name in columns
        if any(values.get(name) is not None for values in found.values())
    )
    small = [month for month in months if month not in large]
    unread = [name for name in columns if name not in {line.name for line in lines}]
    return Curves(
        title=f"Drift by column, by {test.spec}",
        x="month",
        y="score / alarm threshold",
        lines=lines,
        note=_note(bench, test, until, small, unread),
        level=1.0,
    )


class Gauge(NamedTuple):
    """Says how far each column of a window is: states of the test, the columns each reads, and one level for all."""

    test: DriftTest
    states: Sequence[Any]
    reads: Sequence[slice | int]
    level: Level

    def columns(self, window: Sample) -> Floats:
        """In thresholds; NaN where nothing was read."""
        return self.level.columns(_scores(self.test, self.states, self.reads, window))


def _scores(test: DriftTest, states: Sequence[Any], reads: Sequence[slice | int], window: Sample) -> Floats:
    import numpy as np

    from weigh.monitor.drift._levels import scores_of

    parts = [window if isinstance(read, slice) else window.column(read) for read in reads]
    return np.concatenate([scores_of(test, state, part) for state, part in zip(states, parts)])


def _gauge(bench: DriftBench, test: DriftTest) -> Gauge:
    """A test that scores each column is fitted once; another is fitted to each column, and then scores each, too."""
    import numpy as np

    from weigh.monitor.drift._levels import Level

    reference, count = bench.references[0], len(bench.history.names)
    state = test.fit(reference)
    whole = np.ndim(test.score(state, reference)) > 0 or count == 1
    reads: list[slice | int] = [slice(None)] if whole else list(range(count))
    states = [state] if whole else [test.fit(reference.column(place)) for place in range(count)]

    def quiet() -> Floats:
        windows = (one for part in range(len(bench.splits[0].parts)) for one in bench.quiet_windows(0, part))
        return np.stack([_scores(test, states, reads, one) for one in windows])

    return Gauge(test, states, reads, Level.of(test, quiet, bench.task.false_alarm, centred=not whole))


def _months(made: History, until: str) -> tuple[Any, dict[str, Ints]]:
    """Which rows lie before a day, and the positions of each month's rows."""
    import numpy as np

    moments = made.moments.to_numpy()
    try:
        date.fromisoformat(str(moments[0])[:10])
    except ValueError:
        raise UsageError(
            f"you want drift by month, but the column of time holds no dates (the first is {moments[0]}): convert it "
            "to dates or datetimes"
        ) from None
    before = moments.astype("U10") < until
    if not before.any():
        raise UsageError(f"no row lies before {until}; the first is of {moments[0]}: give a later day")
    months = moments.astype("U7")
    return before, {str(month): np.flatnonzero(months == month) for month in np.unique(months)}


def _check_day(until: str) -> None:
    try:
        date.fromisoformat(until)
    except ValueError:
        raise UsageError(f"until={until!r} is no date: write the first day after the reference, '2013-03-01'") from None


def _month(gauge: Gauge, watched: History, made: History, rows: Ints, window: int) -> dict[str, float | None]:
    """The median of a month's windows, column by column; None where the test found nothing to read."""
    import numpy as np

    count = min(WINDOWS, len(rows) // window)
    starts = rows[np.linspace(0, len(rows) - window, count).astype(int)]
    narrowed = made.without(set(made.names) - set(watched.names), "")
    with one_thread():
        found = np.stack([gauge.columns(narrowed.sample(np.arange(s, s + window), seed=int(s))) for s in starts])
    columns = zip(watched.names, found.T)
    return {name: float(np.nanmedian(values)) if np.isfinite(values).any() else None for name, values in columns}


def _note(bench: DriftBench, test: DriftTest, until: str, small: Sequence[str], unread: Sequence[str]) -> str:
    level = "the test's own threshold"
    if test.threshold is None:
        level = (
            f"what {bench.task.false_alarm:.0%} of windows from before {until} exceed in any column "
            f"({bench.windows(0):,} windows of {bench.task.window:,} rows)"
        )
    note = f"Multiples of {level}; above 1 is an alarm. What lies before {until} is partly its own reference."
    if small:
        note += f" Fewer rows than a window has: {', '.join(small)}."
    reasons = [f"{name} ({bench.history.unwatched.get(name, f'{test.name} does not read it')})" for name in unread]
    return note + (f" Not scored: {'; '.join(reasons)}." if reasons else "")
