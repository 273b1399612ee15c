"""One release on replayed traffic: what each arm serves, and what a planted regression does to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from weigh.rollout.plan import RolloutPlan

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.serve.rollout import RolloutTask
    from weigh.serve.rollout._history import History

    Floats = NDArray[np.float64]

SLOW = 0.1
"""The share of windows that are slow in a release with a bad tail."""
_HOUR = 3600.0


class Planted(NamedTuple):
    """What is different about a release.

    Attributes:
        kind: where: nowhere, in errors, in the metric, or in the tail of the latency.
        size: by how much: how many more requests fail; how much the metric rises or, below 0, falls; both as shares of
            the range; how many times slower the slow windows are.
        bad: whether it should be rolled back.
    """

    kind: Literal["same", "error", "metric", "tail"]
    size: float
    bad: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """What was served until a tick, in order of time: of the baseline and of the canary, each of shape (n,)."""

    canary: NDArray[np.bool_]
    time: Floats
    values: dict[str, Floats]

    def only(self, kept: NDArray[np.bool_]) -> Seen:
        """Some of it, chosen by a mask of shape (n,)."""
        return Seen(self.canary[kept], self.time[kept], {name: one[kept] for name, one in self.values.items()})


class Traffic:
    """The requests of one replay. Whichever option replays them, the same ones come at the same times, and a request
    that meets the canary at some share meets it at every larger one.

    Attributes:
        plan: what the release must keep to.
        ticks, tick: how many there are, and how many are over.
        exposed: requests that the release served to users so far.
        total: all requests so far.
    """

    def __init__(self, history: History, task: RolloutTask, plan: RolloutPlan, planted: Planted, seed: int) -> None:
        self.plan, self.ticks, self.seed = plan, task.ticks, seed
        self.tick = self.exposed = self.total = 0
        self._history, self._task, self._planted = history, task, planted
        import numpy as np

        spare = max(float(history.time[-1]) - task.days * 86_400.0, 0.0)
        self._start = float(np.random.default_rng([seed, 1]).random()) * spare
        self._slow = np.random.default_rng([seed, 2])

    @property
    def metrics(self) -> list[str]:
        """What is known of a request."""
        return list(self._history.values)

    def serve(self, canary: float, baseline: float = 0.0, shadow: bool = False) -> Seen | None:
        """Serve until the next tick; None when there is no more.

        Args:
            canary: the share of the requests that meet the new version (as copies, with `shadow`).
            baseline: the share that a fresh instance of the champion gets.
            shadow: users get the champion's answer; of the copies only errors are known.
        """
        import numpy as np

        if self.tick >= self.ticks:
            return None
        rng = np.random.default_rng([self.seed, 0, self.tick])
        length = self._task.days * 86_400.0 / self.ticks
        start = self._start + self.tick * length
        first, last = self._history.span(start, start + length)
        count = int(rng.poisson((last - first) * self._task.scale))
        rows = np.sort(rng.integers(first, last, count)) if last > first else np.zeros(0, dtype=np.int64)
        lot, luck = rng.random((2, rows.size))
        self.tick, self.total = self.tick + 1, self.total + rows.size
        new = lot < canary
        self.exposed += 0 if shadow else int(new.sum())
        kept = new | (lot >= 1.0 - baseline)
        values = {name: column[rows] for name, column in self._history.values.items()}
        time = self._history.time[rows] - self._start
        if shadow:
            values = {name: one for name, one in values.items() if name == "error"}
        self._plant(values, new, time, luck)
        return Seen(new, time, values).only(kept)

    def _plant(self, values: dict[str, Floats], new: NDArray[np.bool_], time: Floats, luck: Floats) -> None:
        """Make the new version's requests what the release makes of them."""
        import numpy as np

        kind, size, task = self._planted.kind, self._planted.size, self._task
        if kind == "error" and "error" in values:
            values["error"] = np.where(new & (luck < size), 1.0, values["error"])
        if kind == "tail" and "latency" in values:
            windows = (time // task.window).astype(np.int64)
            slow = np.random.default_rng([self.seed, 3]).random(int(windows.max(initial=0)) + 1) < SLOW
            values["latency"] = np.where(new & slow[windows], values["latency"] * size, values["latency"])
        if kind == "metric" and task.metric in values:
            end = task.high if size > 0 else task.low
            room = np.mean(np.abs(end - self._history.values[task.metric])) / (task.high - task.low)
            moved = new & (luck < abs(size) / room)
            values[task.metric] = np.where(moved, end, values[task.metric])
