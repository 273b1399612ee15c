"""Experiments simulated on the user's history: each without an effect (A/A), and again with one planted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weigh.cause.experiment._arms import Experiments, Readings
from weigh.cause.experiment._draw import drawn
from weigh.cause.experiment._history import History, load
from weigh.choice import Bench, Block, Blocks, Exhibit, UsageError, Values

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.cause.experiment import Analysis, ExperimentTask

EACH = 100
"""Simulated experiments a block."""


class Replay(Bench):
    """A history, replayed as experiments (see `weigh.cause.experiment._draw.drawn`).

    A/A and planted experiments are the same draw, and all options read the same: they are compared on equal luck.
    """

    def __init__(self, task: ExperimentTask, seed: int) -> None:
        self.task, self.seed = task, seed
        self.history: History = load(task)
        mean = abs(self.history.mean)
        if task.relative and mean <= 1e-9 * self.history.deviation:
            raise UsageError(
                f"'{task.metric}' is 0 on average: a relative effect says nothing; give effect in its own unit"
            )
        self.effect = task.effect * (mean if task.relative else 1.0) / self.history.deviation
        self.daily = task.looks == "daily"
        self._kept: OrderedDict[tuple[int, bool], Experiments] = OrderedDict()

    @property
    def blocks(self) -> Blocks:
        race = -(-self.task.experiments // EACH)
        return Blocks(race=race, fresh=-(-race // 2))

    def prepare(self, option: Analysis) -> Analysis:
        """The option, once it has read one block (so that what it cannot serve is known before the race)."""
        data = self.experiments(self.seed, self.daily)
        made = option.analyse(data, self.task.alpha)
        for name in ("effect", "low", "high", "p"):
            if getattr(made, name).shape != data.shape:
                raise TypeError(
                    f"{option.spec} gave '{name}' of shape {getattr(made, name).shape}, but there are "
                    f"(experiments, looks) = {data.shape}: give one number for each"
                )
        return option

    def trial(self, subject: Analysis, block: Block) -> Values:
        data = self.experiments(block.seed, self.daily)
        return measured(
            subject.analyse(data, self.task.alpha),
            subject.analyse(data.planted(self.effect), self.task.alpha),
            self.effect,
            self.task.alpha,
        )

    def exhibits(self, subjects: Mapping[str, Any]) -> Sequence[Exhibit]:
        from weigh.cause.experiment._exhibits import exhibits

        return exhibits(self, subjects)

    def experiments(self, seed: int, daily: bool) -> Experiments:
        """`EACH` experiments without an effect; the same for every option that asks with the same seed."""
        key = (seed, daily)
        if key not in self._kept:
            self._kept[key] = drawn(self.history, self.task, seed, EACH, daily)
            if len(self._kept) > 2:
                self._kept.popitem(last=False)
        return self._kept[key]


def measured(without: Readings, planted: Readings, effect: float, alpha: float) -> dict[str, list[float]]:
    """One value an experiment and measure, of a block that was read without an effect and with one."""
    import numpy as np

    wrong = without.found() != 0
    seen, day = stopped(planted)
    everyone = np.arange(len(day))
    low, high = planted.low[everyone, day], planted.high[everyone, day]
    any_wrong = wrong.any(axis=1)
    values = {
        "power": seen == np.sign(effect),
        "false_positives": any_wrong,
        "excess_false_positives": any_wrong - alpha,
        "false_positives_at_end": wrong[:, -1],
        "duration": np.where(seen != 0, (day + 1) / planted.low.shape[1], 1.0),
        "misses": (low > effect) | (high < effect),
    }
    return {name: value.astype(float).tolist() for name, value in values.items()}


def stopped(readings: Readings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What was found (1, -1, or 0 for nothing) and at which look, when one stops at the first finding."""
    import numpy as np

    found = readings.found()
    first = np.where((found != 0).any(axis=1), (found != 0).argmax(axis=1), found.shape[1] - 1)
    return found[np.arange(len(found)), first], first
