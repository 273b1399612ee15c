"""Which rows are the reference, which set thresholds and which are judged: never the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weigh.data import DataError
from weigh.monitor.drift import DriftTask

if TYPE_CHECKING:
    import numpy as np

    from weigh.monitor.drift._sample import Ints

REFERENCES, FOLDS = 4, 5
"""How often a reference is drawn anew, and in how many parts the other windows take turns at being judged."""
DRAWS = 20
"""How often a reference is drawn until each column varies in it."""
SHARE = 3
"""A reference is one part in so many of the history at most."""
POOL = 10
"""Windows' worth of rows that thresholds need, at least: drawn from fewer, windows would be too alike."""


@dataclass(frozen=True, slots=True)
class Split:
    """One way of giving stretches of the history their roles.

    A window that is judged comes from one part, and the threshold that it is held against from the others.

    Attributes:
        stretch: rows that stay together.
        window: rows a window.
        reference: positions of the reference's rows.
        parts: where the other stretches start, part by part.
    """

    stretch: int
    window: int
    reference: Ints
    parts: tuple[Ints, ...]

    @property
    def whole(self) -> bool:
        """Each window is one stretch, so that there are only so many."""
        return self.stretch >= self.window

    def draw(self, part: int, rng: np.random.Generator) -> Ints:
        """The rows of a window of several stretches of a part, none twice.

        Drawn from different parts, windows differ as much as windows of rows that nobody has seen: by chance within a
        part, and as parts differ.
        """
        count = math.ceil(self.window / self.stretch)
        return _rows(rng.choice(self.parts[part], count, replace=False), self.stretch)[: self.window]


def splits_of(task: DriftTask, rows: int, seed: int, good: Callable[[Ints], bool]) -> tuple[Split, ...]:
    """The splits of a history of so many rows; one where thresholds rest on many windows anyway.

    Args:
        task: sizes and the rate to hold.
        rows: of the history.
        seed: of all draws.
        good: whether rows can be a reference; of some draws the first that can is taken, or the last.

    Raises:
        DataError: too few rows to hold the rate; the text says how many it takes, or what to change.
    """
    import numpy as np

    _check_rows(task, rows)
    stretch = task.rows_together
    count, spare = divmod(rows, stretch)
    size = max(1, min(task.reference, rows // SHARE) // stretch)
    rest = count - size
    splits = 1 if stretch < task.window else int(np.clip(task.calibration // rest, 1, REFERENCES))
    made = []
    for number in range(splits):
        rng = np.random.default_rng([seed, 0, number])
        draws = (_split(task, count, size, spare, rng) for _ in range(DRAWS))
        one = next(draws)
        while not good(one.reference) and (other := next(draws, None)):
            one = other
        made.append(one)
    return tuple(made)


def _split(task: DriftTask, count: int, size: int, spare: int, rng: np.random.Generator) -> Split:
    import numpy as np

    stretch = task.rows_together
    starts = rng.permutation(count) * stretch + rng.integers(0, spare + 1)
    whole = stretch >= task.window
    others = starts[size : size + task.calibration] if whole else starts[size:]
    parts = np.array_split(others, FOLDS)
    return Split(stretch, task.window, _rows(starts[:size], stretch), tuple(parts))


def _rows(starts: Ints, stretch: int) -> Ints:
    import numpy as np

    return (starts[:, None] + np.arange(stretch)).ravel()


def needed(task: DriftTask, reference: int) -> int:
    """How many rows of history it takes to hold the task's rate beside a reference of so many rows."""
    if task.rows_together < task.window:
        return math.ceil(POOL * FOLDS / (FOLDS - 1) * task.window) + reference
    least = math.ceil(1.0 / task.false_alarm - 1e-9) - 1
    return math.ceil(least * FOLDS / (FOLDS - 1)) * task.rows_together + reference


def _check_rows(task: DriftTask, rows: int) -> None:
    """Raises a `DataError` where thresholds could not hold the rate."""
    reference = max(min(task.reference, rows // SHARE), task.rows_together)
    least = needed(task, reference)
    if rows >= least:
        return
    window = max(20, task.window * (rows - rows // SHARE) // (least - reference + task.rows_together))
    if task.rows_together < task.window:
        raise DataError(
            f"You asked for windows of {task.window:,} rows, but the history has {rows:,}: beside a reference of "
            f"{reference:,} thresholds need the rows of {POOL} windows, and windows to judge others. "
            f"Take a window of {window:,} rows or fewer, a smaller reference, or a history of {least:,} rows or more."
        )
    have = (rows - reference) // task.rows_together * (FOLDS - 1) // FOLDS
    raise DataError(
        f"You asked for windows of {task.window:,} consecutive rows that alarm falsely {task.false_alarm:.3g} of the "
        f"time, but beside a reference of {reference:,} rows the history of {rows:,} has {have} such windows to set "
        f"thresholds on, and {math.ceil(1 / task.false_alarm - 1e-9) - 1} are needed: type window={window} or fewer, "
        f"a larger false_alarm=, a smaller reference=, give {least:,} rows or more, or, where rows that lie further "
        "apart than some number are as good as independent, type that number as stretch="
    )
