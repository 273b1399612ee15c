"""Drift of each column over time, by the test that was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.choice import Curves, Line, Unfit, UsageError

if TYPE_CHECKING:
    from weigh.monitor.drift import DriftTest
    from weigh.monitor.drift._history import History
    from weigh.monitor.drift._sample import Floats, Ints, Sample

QUIET, WINDOWS = 60, 3


def drift_by_month(
    test: DriftTest,
    history: Path,
    columns: Sequence[str],
    time: str,
    until: str,
    *,
    window: int = 1000,
    false_alarm: float = 0.05,
    seed: int = 0,
) -> Curves:
    """How far each column is, month by month, from what it was before a day.

    Every column is scored by itself: windows of each month against the rows before `until`, as multiples of the score
    that a share `false_alarm` of windows drawn from those rows themselves exceeds. Above 1 the test would alarm.

    Args:
        test: the drift test.
        history: the table, in order of time.
        columns: columns to score; those that the test cannot read are named in the note.
        time: the column that orders the table.
        until: the first day that is not part of the reference, as YYYY-MM-DD.
        window: rows a window; three windows are drawn in each month.
        false_alarm: share of quiet windows that may alarm.
        seed: of the draws.

    Raises:
        UsageError: no row lies before `until`.
    """
    import numpy as np

    from weigh.monitor.drift import DriftTask
    from weigh.monitor.drift._history import history_of

    lines: list[Line] = []
    unread: list[str] = []
    for column in columns:
        made = history_of(DriftTask(history=history, columns=(column,), time=time))
        rows = _rows_by_month(made, until)
        try:
            state = test.fit(made.sample(rows[until][:20_000]))
        except Unfit:
            unread.append(column)
            continue
        rng = np.random.default_rng(seed)

        def scores(where: Ints, count: int, made: History = made, state: Any = state, rng: Any = rng) -> Floats:
            return np.array([test.score(state, _draw(made, where, window, rng)) for _ in range(count)])

        alarm = float(np.quantile(scores(rows[until], QUIET), 1 - false_alarm)) or 1.0
        months = [month for month in rows if month != until]
        found = {month: scores(rows[month], WINDOWS) / alarm for month in months}
        lines.append(
            Line(
                name=column,
                x=tuple(months),
                y=tuple(float(np.median(found[month])) for month in months),
            )
        )
    note = f"Multiples of the score that {false_alarm:.0%} of windows from before {until} exceed; above 1 is an alarm."
    if unread:
        note += f" {test.spec} cannot read {', '.join(unread)}."
    title = f"Drift by column, by {test.spec}"
    return Curves(title=title, x="month", y="score / alarm threshold", lines=tuple(lines), note=note)


def _rows_by_month(made: History, until: str) -> dict[str, Ints]:
    """Positions of the rows before `until` (under that key), and of each month."""
    import numpy as np

    moments = made.moments.to_numpy()
    before = moments.astype("U10") < until
    if not before.any():
        raise UsageError(f"no row lies before {until}; the first is of {moments[0]}: give a later day")
    months = moments.astype("U7")
    found = {until: np.flatnonzero(before)}
    return found | {str(month): np.flatnonzero(months == month) for month in np.unique(months)}


def _draw(made: History, where: Ints, window: int, rng: Any) -> Sample:
    return made.sample(rng.choice(where, min(window, len(where)), replace=False), seed=int(rng.integers(2**31)))
