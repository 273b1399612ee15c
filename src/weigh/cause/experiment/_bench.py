"""Experiments simulated on the user's history: each without an effect (A/A), and again with one planted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from weigh.cause.experiment._arms import Experiments, Readings
from weigh.cause.experiment._draw import drawn, planted
from weigh.cause.experiment._history import History, load
from weigh.choice import Bench, Block, Blocks, Exhibit, UsageError, Values

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.cause.experiment import Analysis, ExperimentTask
    from weigh.cause.experiment._arms import Floats

K = TypeVar("K")
V = TypeVar("V")

EACH = 100
"""Simulated experiments a block."""


class Replay(Bench):
    """A history, replayed as experiments (see `weigh.cause.experiment._draw.drawn`).

    A/A and planted experiments are the same draw, and all options read the same: they are compared on equal luck.
    """

    def __init__(self, task: ExperimentTask, seed: int) -> None:
        self.task, self.seed = task, seed
        self.history: History = load(task)
        self.effect = _asked(task, self.history)
        self.daily = task.looks == "daily"
        self._kept: OrderedDict[tuple[int, bool], Experiments] = OrderedDict()
        self._planted: OrderedDict[tuple[int, bool, float], tuple[Experiments, Floats]] = OrderedDict()

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
        alpha = self.task.alpha
        without = subject.analyse(self.experiments(block.seed, self.daily), alpha)
        data, truth = self.planted(block.seed, self.daily, self.effect)
        return measured(without, subject.analyse(data, alpha), truth, alpha)

    def exhibits(self, subjects: Mapping[str, Any]) -> Sequence[Exhibit]:
        from weigh.cause.experiment._exhibits import exhibits

        return exhibits(self, subjects)

    def experiments(self, seed: int, daily: bool) -> Experiments:
        """`EACH` experiments without an effect; the same for every option that asks with the same seed."""
        return _kept(self._kept, (seed, daily), 2, lambda: drawn(self.history, self.task, seed, EACH, daily))

    def planted(self, seed: int, daily: bool, effect: float) -> tuple[Experiments, Floats]:
        """The same with an effect (in deviations), and what it is on average; see `weigh.cause.experiment._draw`."""
        plain = self.experiments(seed, daily)
        return _kept(
            self._planted, (seed, daily, effect), 12, lambda: planted(self.history, self.task, plain, effect, daily)
        )


def _kept(store: OrderedDict[K, V], key: K, most: int, make: Callable[[], V]) -> V:
    """From the store, or made and kept there instead of the oldest."""
    if key not in store:
        store[key] = make()
        if len(store) > most:
            store.popitem(last=False)
    return store[key]


def _asked(task: ExperimentTask, history: History) -> float:
    """The effect to plant, in deviations of the metric.

    Raises:
        UsageError: the metric cannot have it.
    """
    mean, metric = history.mean, task.metric
    if (task.relative or history.plant.kind == "scale") and abs(mean) <= 1e-9 * history.deviation:
        raise UsageError(f"'{metric}' is 0 on average: a relative effect says nothing; give effect in its own unit")
    effect = task.effect * (abs(mean) if task.relative else 1.0)
    least, most = (end * history.deviation for end in history.plant.reach)
    if not least <= effect <= most:
        raise UsageError(
            f"you asked for an effect of {effect:.4g} in '{metric}', which is {mean:.4g} on average and can only "
            f"change by {least:.4g} to {most:.4g}: give a smaller effect, or its share of the mean with relative=true"
        )
    return effect / history.deviation


def measured(without: Readings, planted: Readings, truth: Floats, alpha: float) -> dict[str, list[float]]:
    """One value an experiment and measure, of a block that was read without an effect and with one."""
    import numpy as np

    wrong = without.found() != 0
    seen, day = stopped(planted)
    everyone = np.arange(len(day))
    low, high, effect = (values[everyone, day] for values in (planted.low, planted.high, truth))
    any_wrong = wrong.any(axis=1)
    values = {
        "power": seen == np.sign(effect),
        "false_positives": any_wrong,
        "excess_false_positives": any_wrong - alpha,
        "false_positives_at_end": wrong[:, -1],
        "duration": duration(planted, truth, seen, day),
        "misses": (low > effect) | (high < effect),
    }
    return {name: value.astype(float).tolist() for name, value in values.items()}


def duration(planted: Readings, truth: Floats, seen: NDArray[np.int64], day: NDArray[np.int64]) -> Floats:
    """Days that each experiment needs, as a share of those planned.

    Looked at daily: until something is found. Read once: until the interval, which narrows with the root of the days,
    reaches no further from its middle than the effect is large.
    """
    import numpy as np

    if truth.shape[1] > 1:
        return np.where(seen != 0, (day + 1) / truth.shape[1], 1.0)
    half = (planted.high[:, 0] - planted.low[:, 0]) / 2
    with np.errstate(invalid="ignore", over="ignore"):
        return np.nan_to_num(np.minimum((half / truth[:, 0]) ** 2, 1.0), nan=1.0)


def stopped(readings: Readings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What was found (1, -1, or 0 for nothing) and at which look, when one stops at the first finding."""
    import numpy as np

    found = readings.found()
    first = np.where((found != 0).any(axis=1), (found != 0).argmax(axis=1), found.shape[1] - 1)
    return found[np.arange(len(found)), first], first
