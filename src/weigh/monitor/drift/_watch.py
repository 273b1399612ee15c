"""The test that was chosen, put to work: fitted on the history, with its level, ready for new tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weigh.choice import Frozen, UsageError
from weigh.monitor.drift._threads import one_thread

if TYPE_CHECKING:
    from weigh.monitor.drift import DriftTask, DriftTest
    from weigh.monitor.drift._history import History
    from weigh.monitor.drift._levels import Level

SLACK = 0.2
"""How much a table's rows may differ from a window's, relative to these."""


class Reading(Frozen):
    """What a test says of a table.

    Attributes:
        alarm: whether it has drifted.
        rating: how far; above `level` it is an alarm.
        level: what a share `false_alarm` of quiet windows exceeds, or the threshold that was given.
        columns: how far each column is, in thresholds, farthest first; empty of a test that looks at all at once.
    """

    alarm: bool
    rating: float
    level: float
    columns: dict[str, float]


@dataclass(frozen=True, slots=True)
class Watcher:
    """A test that knows the history and its level. `watch` makes one."""

    test: DriftTest
    window: int
    history: History
    state: Any
    level: Level

    def score(self, table: Any) -> Reading:
        """Judge a new window.

        Args:
            table: the next `window` rows, a path or a table in memory, with the columns that the history has.

        Raises:
            UsageError: the table has far more or fewer rows than a window.
            DataError: the table lacks a column, or one is not of numbers.
        """
        import numpy as np

        from weigh.monitor.drift._levels import scores_of

        sample = self.history.encoded(table)
        if abs(sample.rows - self.window) > SLACK * self.window:
            raise UsageError(
                f"you gave a table of {sample.rows:,} rows, but the level was calibrated on windows of "
                f"{self.window:,}: give about as many, or watch with window={max(sample.rows, 20)}"
            )
        with one_thread():
            scores = scores_of(self.test, self.state, sample)
        columns: dict[str, float] = {}
        if len(scores) == len(self.history.names) > 1:
            ratio = self.level.columns(scores)
            columns = {self.history.names[place]: float(ratio[place]) for place in np.argsort(-np.nan_to_num(ratio))}
            columns = {name: value for name, value in columns.items() if not np.isnan(value)}
        return Reading(
            alarm=self.level.alarms(scores), rating=self.level.rating(scores), level=self.level.level, columns=columns
        )


def watch(task: DriftTask, test: DriftTest, seed: int = 0) -> Watcher:
    """Put a test to work: fitted on a reference from the history, its level calibrated on all other windows of it.

    Args:
        task: the task on which the test was chosen.
        test: the option, such as ``catalog.find(catalog.choice("monitor/drift"), decision.chosen)``.
        seed: draws the reference.

    Raises:
        DataError: the history is too short for its windows, or holds what cannot be watched.
        Unfit: the test reads none of the columns.
    """
    from weigh.monitor.drift._bench import DriftBench

    return watcher_of(DriftBench(task, seed), test)


def watcher_of(bench: Any, test: DriftTest) -> Watcher:
    """The same, of a bench."""
    import numpy as np

    from weigh.monitor.drift._levels import Level

    with one_thread():
        known = bench.known(test, 0)
    level = Level.of(test, lambda: np.concatenate(known.scores), bench.task.false_alarm)
    return Watcher(test, bench.task.window, bench.history, known.state, level)
