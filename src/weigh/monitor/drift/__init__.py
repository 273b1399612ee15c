"""Which drift test should watch a table, measured on the user's own history.

Stretches of the history are given roles at random: some are the reference, some are quiet windows that set thresholds,
and in others drifts of known kinds are planted. With a column of time a window is a run of consecutive rows, as windows
are in production; without one, rows are taken to be exchangeable. All tests are held to the same false-alarm rate; then
the one that finds most planted drifts wins.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias, final, get_args

from pydantic import Field, model_validator

from weigh.choice import Choice, Measure, Option, Task
from weigh.monitor.drift._by_month import drift_by_month
from weigh.monitor.drift._sample import Sample
from weigh.monitor.drift._watch import Reading, Watcher, watch

if TYPE_CHECKING:
    from weigh.monitor.drift._bench import DriftBench
    from weigh.monitor.drift._sample import Floats

__all__ = ["Drift", "DriftTask", "DriftTest", "Kind", "Reading", "Sample", "Watcher", "drift_by_month", "watch"]

Kind: TypeAlias = Literal["mean", "scale", "mix", "missing", "correlation"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class DriftTask(Task):
    """A history, the windows in which it will be watched, and the drifts that should be found.

    What a drift of `size` s does to each column that it touches: ``mean`` adds s standard deviations, ``scale``
    multiplies the spread around the mean by 1 + s (both, where many rows share a value, by making high or outlying
    values of the column's own more frequent, as far as that goes), ``mix`` gives a share s of the rows one category,
    drawn anew for each window, ``missing`` empties a share s of the rows, ``correlation`` shuffles the column among a
    share s of the rows, so that the column's own values stay exactly as they were.
    """

    history: Path = Field(description="table of past rows that are taken to be without drift")
    columns: tuple[str, ...] = Field((), description="columns to watch; all that can be watched when empty")
    time: str = Field("", description="column that orders the history (date, datetime or number); empty: as it lies")
    categories: tuple[str, ...] = Field((), description="columns of numbers that are categories, such as codes")
    window: int = Field(1000, ge=20, description="rows in a window that is compared with the reference")
    stretch: int | None = Field(
        None,
        ge=1,
        description="consecutive rows that stay together, in windows and reference; by default a whole window where "
        "`time` is given, and 1 (rows are exchangeable) where it is not",
    )
    reference: int = Field(
        10_000, ge=50, description="rows of the reference, in stretches drawn at random; a third of the history at most"
    )
    kinds: tuple[Kind, ...] = Field((), description="kinds of drift to plant; all that the columns allow when empty")
    size: float = Field(0.2, ge=0, le=10, description="size of the planted drift, in standard deviations or as a share")
    sizes: dict[Kind, Annotated[float, Field(ge=0, le=10)]] = Field(
        {}, description="size of one kind where it is to differ from `size`"
    )
    share_of_columns: float = Field(
        0.3, gt=0, le=1, description="share of the columns that a drift touches; at least one"
    )
    false_alarm: float = Field(0.05, gt=0, lt=0.5, description="share of quiet windows that may alarm")
    calibration: int = Field(
        1000,
        ge=20,
        description="quiet windows that thresholds are calibrated on; of whole stretches, as many as there are",
    )
    quiet: int | None = Field(
        None,
        ge=1,
        le=100,
        description="quiet windows in a block: by default 18, or 60 where windows are whole stretches, which are "
        "scored once; for a rate below 5 %, as many times more as it is lower",
    )
    planted: int = Field(12, ge=1, le=100, description="drifted windows in a block, each of a kind drawn at random")
    rows: int = Field(
        500_000, ge=100, description="rows of the history that are held: the latest, or without `time` a random part"
    )
    race: int = Field(40, ge=1, description="blocks to choose on")
    fresh: int = Field(25, ge=0, description="blocks to measure the winner again on")

    @model_validator(mode="after")
    def _can_be_held(self) -> Self:
        """Thresholds must be known better than what the race tells apart: twice the windows, and five above each."""
        if self.stretch is not None and self.stretch > self.window:
            raise ValueError(
                f"a stretch of {self.stretch} rows is longer than a window of {self.window}: "
                f"type stretch={self.window} or less, or leave it out"
            )
        least = math.ceil(5 / self.false_alarm)
        if self.rows_together < self.window:
            least = max(2 * self.race * self.planted, least)
        if self.calibration < least:
            raise ValueError(
                f"{self.calibration} quiet windows are too few to hold a false-alarm rate of {self.false_alarm:g} over "
                f"{self.race} blocks of {self.planted} drifts; type calibration={least} or more, or plant fewer"
            )
        return self

    @property
    def rows_together(self) -> int:
        """How many consecutive rows stay together."""
        return self.stretch or (self.window if self.time else 1)

    @property
    def quiet_windows(self) -> int:
        """Quiet windows in a block."""
        return (self.quiet or (18 if self.rows_together < self.window else 60)) * self.group

    @property
    def group(self) -> int:
        """Quiet windows that together ought to alarm about once in twenty times; 1 for rates of 5 % and more."""
        return max(1, round(0.05 / self.false_alarm))

    def size_of(self, kind: Kind) -> float:
        """The size of a kind of drift."""
        return self.sizes.get(kind, self.size)


class DriftTest(Option):
    """Scores how far a window has drifted from a reference; above its threshold it alarms."""

    threshold: float | None = Field(
        None, description="alarm when a score is above this; calibrated on quiet windows when not given"
    )

    @abstractmethod
    def fit(self, reference: Sample) -> Any:
        """What `score` needs to know of the reference, prepared once: sorted columns, bins, moments.

        Raises:
            Unfit: the columns hold nothing that this test reads; the text says what does.
        """

    @abstractmethod
    def score(self, state: Any, window: Sample) -> float | Floats:
        """How far the window is from the reference: a finite number, larger with more drift, or one a column.

        Scores of columns are 0 or more, number columns first; NaN where the test does not read the column. The bench
        divides each by what that column's own quiet windows score, so that no restless column drowns the others.

        Args:
            state: what `fit` returned.
            window: numbers (NaN where missing) and category codes (0 where missing), one array row a column.
        """


_LEVELS = "the levels of alarm are estimates from quiet windows; the table of false alarms says how rough they are"


@final
class Drift(Choice):
    """Mean shift, Kolmogorov-Smirnov, PSI, a domain classifier, ...?"""

    name = "monitor/drift"
    question = "Which test should watch this table for drift?"
    measures = (
        Measure(
            name="power", unit="of drifts", better="higher", kind="mean", tolerance=0.02,
            meaning="planted drifts that raise an alarm, all kinds weighing the same; a threshold that is given gains "
            "nothing from being lower than the calibrated one", caveat=_LEVELS,
        ),
        Measure(
            name="false_alarms", unit="of quiet windows", better="lower", kind="mean", tolerance=0.01,
            meaning="windows without drift that raise an alarm", caveat=_LEVELS,
        ),
        Measure(
            name="excess_false_alarms", unit="of quiet windows", better="lower", kind="mean", low=-1.0, tolerance=0.01,
            meaning="false alarms beyond the task's rate; for a rate below 5 %, of as many windows together as ought "
            "to alarm once in twenty times", caveat=_LEVELS,
        ),
        Measure(
            name="seconds", unit="s", better="lower", kind="time", tolerance=0.05,
            meaning="time to score one window, the reference prepared beforehand",
        ),
    )  # fmt: skip
    cost = "seconds"
    baseline = "mean_shift"
    require = ("excess_false_alarms <= 0.05",)
    task = DriftTask
    option = DriftTest
    assumptions = {
        "the history is without drift, and a quiet window to come is like any of its stretches": (
            "the table of false alarms: thresholds of the history's first part alarm often in its last; a new season"
        ),
        "drifts that matter are of the planted kinds, and at least of the planted size": (
            "live outcomes worsen while the test is silent"
        ),
        "tests run with thresholds calibrated as here; of few windows, the rate that they hold scatters": (
            "far more or far fewer alarms in quiet weeks than the table of false alarms states"
        ),
        "windows keep their number of rows and their columns": "a window arrives with half the rows, or another schema",
    }

    def open(self, task: DriftTask, seed: int) -> DriftBench:
        from weigh.monitor.drift._bench import DriftBench

        return DriftBench(task, seed)

    def toy(self, folder: Path, seed: int = 0) -> DriftTask:
        """Two correlated normal columns and a category; only tests that look between columns see every drift."""
        from weigh.monitor.drift._planted import toy

        return toy(folder, seed)

    def loser(self) -> DriftTest:
        """A test that never alarms."""
        from weigh.monitor.drift._planted import Silent

        return Silent()

    def twins(self) -> tuple[DriftTest, DriftTest]:
        """The mean shift, twice, each on a half of every window."""
        from weigh.monitor.drift._planted import Half

        return Half(part=0), Half(part=1)
