"""The history, opened: quiet windows, windows with drifts, and the levels that hold the false-alarm rate."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from weigh.choice import Bench, Block, Blocks, Exhibit, Unfit
from weigh.data import DataError
from weigh.monitor.drift import DriftTask, DriftTest, Kind, Sample
from weigh.monitor.drift._drifts import Planter
from weigh.monitor.drift._history import History, history_of
from weigh.monitor.drift._levels import Level, scores_of
from weigh.monitor.drift._split import Split, splits_of
from weigh.monitor.drift._threads import one_thread

if TYPE_CHECKING:
    import numpy as np

    from weigh.monitor.drift._sample import Floats

HELD_BYTES = 2**28
"""Windows that set thresholds are kept in memory up to this size, and drawn again for each test beyond it."""


class Case(NamedTuple):
    """A window to be judged: against which split's reference, from which part, and which of its windows (-1: drawn)."""

    split: int
    part: int
    window: Sample
    place: int = -1


@dataclass(frozen=True, slots=True)
class Known:
    """What a test knows under one split: the reference, scores of quiet windows and levels, part by part.

    The level of a part is calibrated on the windows of the other parts.
    """

    state: Any
    scores: tuple[Floats, ...]
    levels: tuple[Level, ...]

    @classmethod
    def of(cls, state: Any, scores: Sequence[Floats], rate: float) -> Known:
        """With the levels that hold a rate."""
        import numpy as np

        others = (np.concatenate([*scores[:part], *scores[part + 1 :]]) for part in range(len(scores)))
        return cls(state, tuple(scores), tuple(Level.calibrated(other, rate) for other in others))


@dataclass(frozen=True, slots=True)
class Ready:
    """A test that knows its references and its levels."""

    test: DriftTest
    known: tuple[Known, ...]

    def scores(self, case: Case) -> Floats:
        """The scores of a window against its split's reference."""
        known = self.known[case.split]
        return (
            known.scores[case.part][case.place] if case.place >= 0 else scores_of(self.test, known.state, case.window)
        )

    def level(self, case: Case) -> Level:
        """What the window's scores are compared with."""
        given = self.test.threshold
        return self.known[case.split].levels[case.part] if given is None else Level.given(given)

    def alarms(self, case: Case) -> bool:
        """Whether the window raises an alarm."""
        return self.level(case).alarms(self.scores(case))

    def finds(self, case: Case) -> bool:
        """Whether it does so above the calibrated level too: no drift is found by alarming more often."""
        scores = self.scores(case)
        return self.level(case).alarms(scores) and self.known[case.split].levels[case.part].alarms(scores)


class DriftBench(Bench):
    """References and windows, all taken from the history; no row has two roles at a time."""

    def __init__(self, task: DriftTask, seed: int, history: History | None = None) -> None:
        import numpy as np

        self.task, self.seed = task, seed
        self.history = history or history_of(task)
        self.splits = splits_of(task, self.history.rows, seed, lambda rows: not self.history.still(rows))
        self.history = _varied(task, self.history, self.splits)
        self.references = [self.history.sample(split.reference) for split in self.splits]
        self.planter = Planter.of(task, self.history.sample(np.arange(self.history.rows)))
        self._held: dict[tuple[int, int], list[Sample]] = {}
        self._block: tuple[Block, list[Case], list[Case]] | None = None

    @property
    def blocks(self) -> Blocks:
        return Blocks(race=self.task.race, fresh=self.task.fresh)

    def prepare(self, option: DriftTest) -> Ready:
        """Fit each split's reference, and find the levels that the task's share of quiet windows exceeds.

        Raises:
            Unfit: the option's own threshold raises more false alarms than the task allows.
        """
        with one_thread():
            ready = Ready(option, tuple(self.known(option, number) for number in range(len(self.splits))))
        _check_threshold(ready, self.task.false_alarm)
        return ready

    def trial(self, subject: Ready, block: Block) -> dict[str, Any]:
        import numpy as np

        quiet, planted = self._windows(block)
        scored = [case for case in [*quiet, *planted] if case.place < 0]
        with one_thread():
            alarms = [float(subject.alarms(case)) for case in quiet if case.place >= 0]
            start = time.perf_counter()
            alarms += [float(subject.alarms(case)) for case in quiet if case.place < 0]
            found = [float(subject.finds(case)) for case in planted]
            seconds = (time.perf_counter() - start) / len(scored)
        group = self.task.group
        together = np.reshape(alarms, (-1, group)).max(axis=1)
        return {
            "power": found,
            "false_alarms": alarms,
            "excess_false_alarms": (together - (1.0 - (1.0 - self.task.false_alarm) ** group)).tolist(),
            "seconds": [seconds],
        }

    def exhibits(self, subjects: Mapping[str, Ready]) -> Sequence[Exhibit]:
        from weigh.monitor.drift._exhibits import exhibits

        with one_thread():
            return exhibits(self, subjects)

    def quiet(self, rng: np.random.Generator) -> Case:
        """A window without drift."""
        split = int(rng.integers(len(self.splits)))
        parts = self.splits[split].parts
        place = int(rng.integers(self.windows(split))) if self.splits[split].whole else -1
        if place < 0:
            part = int(rng.integers(len(parts)))
            rows = self.splits[split].draw(part, rng)
            return Case(split, part, self.history.sample(rows, int(rng.integers(2**62))))
        part = 0
        while place >= len(parts[part]):
            place, part = place - len(parts[part]), part + 1
        return Case(split, part, self._own(int(parts[part][place])), place)

    def planted(self, kind: Kind, rng: np.random.Generator) -> Case:
        """A window with a drift of that kind."""
        case = self.quiet(rng)
        return Case(case.split, case.part, self.planter.plant(case.window, kind, rng))

    def windows(self, split: int) -> int:
        """How many quiet windows set the thresholds of a split."""
        one = self.splits[split]
        return sum(map(len, one.parts)) if one.whole else self.task.calibration

    def quiet_windows(self, split: int, part: int) -> Iterable[Sample]:
        """The windows of a part that set the thresholds of the others: the same for every test."""
        numbers = self.windows(split) * self.task.window * len(self.history.names)
        if numbers * len(self.splits) * 8 > HELD_BYTES:
            return self._drawn(split, part)
        if (split, part) not in self._held:
            self._held[split, part] = list(self._drawn(split, part))
        return self._held[split, part]

    def _drawn(self, split: int, part: int) -> Iterator[Sample]:
        import numpy as np

        one = self.splits[split]
        if one.whole:
            return (self._own(int(start)) for start in one.parts[part])
        rng = np.random.default_rng([self.seed, 1, split, part])
        count = -(-self.task.calibration // len(one.parts))
        return (self.history.sample(one.draw(part, rng), int(rng.integers(2**62))) for _ in range(count))

    def _own(self, start: int) -> Sample:
        """A window of consecutive rows."""
        import numpy as np

        return self.history.sample(np.arange(start, start + self.task.window), seed=start)

    def known(self, option: DriftTest, split: int) -> Known:
        """What a test learns from one split's reference and quiet windows."""
        import numpy as np

        state = option.fit(self.references[split].shared())
        parts = range(len(self.splits[split].parts))
        scores = [
            np.stack([scores_of(option, state, window) for window in self.quiet_windows(split, part)]) for part in parts
        ]
        return Known.of(state, scores, self.task.false_alarm)

    def _windows(self, block: Block) -> tuple[list[Case], list[Case]]:
        """The quiet and the drifted windows of a block: drawn once, then scored by every test.

        Each drift's kind is drawn by itself, all kinds being as likely, so that drifts are independent draws.
        """
        import numpy as np

        if self._block is None or self._block[0] != block:
            rng = np.random.default_rng(block.seed)
            quiet = [self.quiet(rng) for _ in range(self.task.quiet_windows)]
            kinds = tuple(self.planter.columns)
            drawn = rng.integers(0, len(kinds), self.task.planted)
            self._block = (block, quiet, [self.planted(kinds[kind], rng) for kind in drawn])
        return self._block[1], self._block[2]


def _check_threshold(ready: Ready, rate: float) -> None:
    """Raises `Unfit` where a threshold that is given alarms more often than allowed, and it is not chance."""
    import numpy as np

    threshold = ready.test.threshold
    if threshold is None:
        return
    level = Level.given(threshold)
    alarms = [level.alarms(scores) for part in ready.known[0].scores for scores in part]
    chance = np.mean(np.random.default_rng(0).binomial(len(alarms), rate, 10_000) >= sum(alarms))
    if chance < 0.01:
        raise Unfit(
            f"threshold={threshold:g} raises an alarm in {sum(alarms):,} of {len(alarms):,} quiet windows, where the "
            f"task allows {rate:.3g} of them; leave it out, and it is calibrated, or allow more by false_alarm="
        )


def _varied(task: DriftTask, history: History, splits: Sequence[Split]) -> History:
    """Without the columns in which, unlike the history, a reference does not vary.

    Raises:
        DataError: such a column is named, or no other is left.
    """
    still = set().union(*(history.still(split.reference) for split in splits))
    if not still:
        return history
    size = len(splits[0].reference)
    if named := sorted(still.intersection(task.columns)):
        raise DataError(
            f"You watch {', '.join(map(repr, named))}, where the {size:,} rows of the reference all have one "
            "value, or none: name the other columns in `columns`, or enlarge `reference`."
        )
    left = history.without(still, f"the {size:,} rows of a reference all have one value, or none")
    if not left.names:
        raise DataError(f"You gave {task.history}, where no column varies in the {size:,} rows of the reference.")
    return left
