"""One pass over the history: every morning's model, fitted once, and what it would lose on every later day."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.choice import UsageError
from weigh.data.cache import replacing
from weigh.retrain.cadence import CadenceTask
from weigh.retrain.cadence._history import History
from weigh.retrain.cadence._replay import Replay

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_PASSES = 5
_SMALLEST = 0.001


class Pass:
    """One pass over the history: which rows each morning's model learns from, and what it then loses."""

    def __init__(self, task: CadenceTask, history: History) -> None:
        import numpy as np

        self.task, self.history = task, history
        self.start = task.start_days or task.train_days
        self.days = history.days - self.start
        self.by_arrival = np.argsort(history.arrival, kind="stable")
        self.arrivals = history.arrival[self.by_arrival]
        self.from_day = np.searchsorted(history.day, self.start + np.arange(self.days + 1))
        own = slice(self.from_day[0], None)
        change = (np.diff(history.day[own]) != 0) | (np.diff(history.arrival[own]) != 0)
        self.cells = np.concatenate([[0], np.flatnonzero(change) + 1]) + self.from_day[0]
        self.cell_starts = np.searchsorted(self.cells, self.from_day)

    def window(self, day: int) -> Ints:
        """Rows whose labels arrived in the last `train_days` mornings, that of `day` included, in order of arrival."""
        return self._arrived(self.start + day - self.task.train_days, self.start + day)

    def _arrived(self, after: int, until: int) -> Ints:
        import numpy as np

        low, high = np.searchsorted(self.arrivals, [after, until], side="right")
        return self.by_arrival[low:high]

    def check_windows(self) -> None:
        """Raises `UsageError` when a morning has nothing to learn from."""
        import numpy as np

        if self.from_day[0] == len(self.history.label):
            raise UsageError(
                "no row with a label lies in the replayed period; look at the label column, or lower start_days"
            )
        for day in range(self.days):
            found = np.unique(self.history.label[self.window(day)])
            if len(found) < 2:
                when = self.history.first + timedelta(days=self.start + day)
                has = f"only the label {self.history.classes[found[0]]!r}" if len(found) else "no label at all"
                raise UsageError(
                    f"in the {self.task.train_days} days before the morning of {when}, {has} has arrived, so that no "
                    "model can be fitted; raise train_days and start_days, or look at the delay of the labels"
                )

    def run(self, estimator: Any, learner: Any | None, folder: Path) -> tuple[Floats, Floats]:
        """Losses of every morning's model, and of the incremental learner as it then was, in every later cell.

        Both have shape (days, cells), or (0, cells) without a learner. One thread of linear algebra a fit, since many
        small fits side by side are several times faster than one after the other on all cores.
        """
        import numpy as np
        from threadpoolctl import threadpool_limits

        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        fitted = np.zeros((self.days, len(self.cells)))
        with threadpool_limits(1), ThreadPoolExecutor(cores) as pool:
            try:
                learnt = pool.submit(self.learn, learner)
                for day, losses in enumerate(pool.map(lambda day: self._fit(estimator, day, folder), range(self.days))):
                    fitted[day, self.cell_starts[day] :] = losses
                return fitted, learnt.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _fit(self, estimator: Any, day: int, folder: Path) -> Floats:
        import numpy as np
        from sklearn import config_context
        from sklearn.base import clone

        path = folder / f"{day:06d}.npy"
        with suppress(FileNotFoundError):
            kept: Floats = np.load(path, allow_pickle=False)
            return kept
        window = self.window(day)
        try:
            with config_context(assume_finite=True, skip_parameter_validation=day > 0):
                model = clone(estimator).fit(self.history.features[window], self.history.label[window])
                losses = self._losses(model, day)
        except ValueError as error:
            raise UsageError(
                f"estimator: {self.task.estimator} with {self.task.params} cannot be fitted: {error}"
            ) from error
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.save(stream, losses)
        return losses

    def learn(self, learner: Any | None) -> Floats:
        """The incremental learner's losses: it reads the first window some times, then each label once it arrives."""
        import numpy as np
        from sklearn import config_context

        if learner is None:
            return np.zeros((0, len(self.cells)))
        rows = np.zeros((self.days, len(self.cells)))
        for _ in range(_PASSES):
            self._read(learner, self.window(0))
        with config_context(assume_finite=True, skip_parameter_validation=True):
            for day in range(self.days):
                if day:
                    self._read(learner, self._arrived(self.start + day - 1, self.start + day))
                rows[day, self.cell_starts[day] :] = self._losses(learner, day)
        return rows

    def _read(self, learner: Any, rows: Ints) -> None:
        import numpy as np

        classes = np.arange(len(self.history.classes))
        if len(rows):
            learner.partial_fit(self.history.features[rows], self.history.label[rows], classes=classes)

    def _losses(self, model: Any, day: int) -> Floats:
        """Sum of the model's losses in every cell from `day` on."""
        import numpy as np

        first = self.from_day[day]
        cells = self.cells[self.cell_starts[day] :]
        if not len(cells):
            return np.zeros(0)
        losses = row_losses(model, self.history.features[first:], self.history.label[first:], self.task.loss)
        return np.add.reduceat(losses, cells - first)

    def replay(self, fitted: Floats, online: Floats, notes: list[str]) -> Replay:
        """What is kept of the pass."""
        import numpy as np

        own = self.history
        wrong = (own.unchanged != own.label).astype(np.float64)
        return Replay(
            first=(own.first + timedelta(days=self.start)).isoformat(),
            start=self.start,
            train_days=self.task.train_days,
            cell_starts=self.cell_starts,
            cell_arrival=own.arrival[self.cells] - self.start,
            cell_rows=np.diff(self.cells, append=len(own.label)),
            fitted=fitted,
            online=online,
            unchanged=np.array([wrong[low:high].sum() for low, high in zip(self.from_day, self.from_day[1:])]),
            by_day=own.by_day,
            by_arrival=own.by_arrival,
            feature_starts=own.feature_starts,
            notes=tuple(notes),
        )


def row_losses(model: Any, features: Any, label: Ints, loss: str) -> Floats:
    """What each prediction loses, between 0 and 1; `label` holds class numbers, and the model may not know them all.

    The Brier score is half the sum of squares over the classes, which for two is the square of the one probability.
    """
    import numpy as np

    if loss == "error":
        return (model.predict(features) != label).astype(np.float64)
    chances = model.predict_proba(features)
    place = np.searchsorted(model.classes_, label)
    known = model.classes_[np.minimum(place, len(model.classes_) - 1)] == label
    true = np.where(known, chances[np.arange(len(label)), np.where(known, place, 0)], 0.0)
    if loss == "log":
        return np.log(np.maximum(true, _SMALLEST)) / np.log(_SMALLEST)
    return np.clip((np.square(chances).sum(axis=1) - 2.0 * true + 1.0) / 2.0, 0.0, 1.0)
