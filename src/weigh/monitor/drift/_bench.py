"""The history, opened: quiet windows, windows with drifts, and the thresholds that hold the false-alarm rate."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weigh.choice import Bench, Block, Blocks, Exhibit
from weigh.data import DataError
from weigh.monitor.drift import DriftTask, DriftTest, Kind, Sample
from weigh.monitor.drift._drifts import Planter
from weigh.monitor.drift._history import History, history_of

if TYPE_CHECKING:
    import numpy as np

HELD_BYTES = 2**28
"""Calibration windows are kept in memory up to this size, and drawn again for each test beyond it."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A test that knows its reference and its threshold."""

    test: DriftTest
    state: Any
    threshold: float

    def score(self, window: Sample) -> float:
        """How far the window has drifted.

        Raises:
            ValueError: the test returned no finite number.
        """
        score = float(self.test.score(self.state, window))
        if not math.isfinite(score):
            raise ValueError(f"{self.test.spec} gave a window the score {score}; a score is a finite number")
        return score

    def alarms(self, window: Sample) -> bool:
        """Whether the window's score is above the threshold."""
        return self.score(window) > self.threshold


class DriftBench(Bench):
    """A reference and windows, all drawn row by row from the history; no row of the reference is in a window.

    Windows are drawn with replacement, so that they are independent of one another, as new data would be.
    """

    def __init__(self, task: DriftTask, seed: int) -> None:
        import numpy as np

        self.task, self.seed = task, seed
        self.history = history_of(task)
        order = np.random.default_rng([seed, 0]).permutation(self.history.rows)
        size = min(task.reference, self.history.rows // 2)
        self._check_rows(size)
        self.reference = self.history.sample(order[:size])
        self._others = order[size:]
        _check_spread(self.history, self.reference)
        self.planter = Planter.of(task, self.reference)
        self._held: list[Sample] = []
        self._block: tuple[Block, list[Sample], list[Sample]] | None = None

    @property
    def blocks(self) -> Blocks:
        return Blocks(race=self.task.race, fresh=self.task.fresh)

    def prepare(self, option: DriftTest) -> Ready:
        """Fit the reference, and find the threshold that the task's share of quiet windows exceeds."""
        state = option.fit(self.reference)
        if option.threshold is not None:
            return Ready(option, state, option.threshold)
        raw = Ready(option, state, math.inf)
        scores = sorted((raw.score(window) for window in self._calibration()), reverse=True)
        allowed = int(self.task.false_alarm * (len(scores) + 1) + 1e-9)
        return Ready(option, state, scores[allowed - 1])

    def trial(self, subject: Ready, block: Block) -> dict[str, Any]:
        quiet, planted = self._windows(block)
        start = time.perf_counter()
        alarms = [float(subject.alarms(window)) for window in quiet]
        found = [float(subject.alarms(window)) for window in planted]
        seconds = (time.perf_counter() - start) / (len(alarms) + len(found))
        return {
            "power": found,
            "false_alarms": alarms,
            "excess_false_alarms": [alarm - self.task.false_alarm for alarm in alarms],
            "seconds": [seconds],
        }

    def exhibits(self, subjects: Mapping[str, Ready]) -> Sequence[Exhibit]:
        from weigh.monitor.drift._exhibits import exhibits

        return exhibits(self, subjects)

    def quiet(self, rng: np.random.Generator) -> Sample:
        """A window without drift."""
        rows = self._others[rng.integers(0, len(self._others), self.task.window)]
        return self.history.sample(rows, int(rng.integers(2**62)))

    def planted(self, kind: Kind, rng: np.random.Generator) -> Sample:
        """A window with a drift of that kind."""
        return self.planter.plant(self.quiet(rng), kind, rng)

    def _windows(self, block: Block) -> tuple[list[Sample], list[Sample]]:
        """The quiet and the drifted windows of a block: drawn once, then scored by every test.

        Each drift's kind is drawn by itself, all kinds being as likely, so that drifts are independent draws.
        """
        import numpy as np

        if self._block is None or self._block[0] != block:
            rng = np.random.default_rng(block.seed)
            quiet = [self.quiet(rng) for _ in range(self.task.quiet)]
            kinds = tuple(self.planter.columns)
            drawn = rng.integers(0, len(kinds), self.task.planted)
            self._block = (block, quiet, [self.planted(kinds[kind], rng) for kind in drawn])
        return self._block[1], self._block[2]

    def _calibration(self) -> Iterable[Sample]:
        """Quiet windows that no block uses, the same for every test."""
        columns = len(self.reference.numbers) + len(self.reference.codes)
        if self.task.calibration * self.task.window * columns * 8 > HELD_BYTES:
            return self._drawn()
        if not self._held:
            self._held = list(self._drawn())
        return self._held

    def _drawn(self) -> Iterator[Sample]:
        import numpy as np

        rng = np.random.default_rng([self.seed, 1])
        return (self.quiet(rng) for _ in range(self.task.calibration))

    def _check_rows(self, size: int) -> None:
        left = self.history.rows - size
        if size < 50 or left < self.task.window:
            raise DataError(
                f"You asked for windows of {self.task.window:,} rows, but the history has {self.history.rows:,}, of "
                f"which {size:,} are the reference and {left:,} are left to draw from: take a window of "
                f"{max(20, left // 2):,} rows or fewer, a smaller reference, or a history of 100 rows or more."
            )


def _check_spread(history: History, reference: Sample) -> None:
    """Raises a `DataError` where the reference, unlike the history, has a column in which nothing varies."""
    import numpy as np

    still = [
        name
        for name, column in zip(history.number_names, reference.numbers)
        if np.isnan(column).all() or np.nanmax(column) == np.nanmin(column)
    ]
    if still:
        raise DataError(
            f"You watch {', '.join(map(repr, still))}, where the {reference.rows:,} rows of the reference all have one "
            "value, or none: name the other columns in `columns`, or enlarge `reference`."
        )
