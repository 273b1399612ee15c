"""One pass over the history: every morning's model, fitted once, and what it would lose on every later day."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.choice import UsageError
from weigh.retrain.cadence import CadenceTask
from weigh.retrain.cadence._fits import Fits
from weigh.retrain.cadence._history import History
from weigh.retrain.cadence._replay import Replay

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Singles = NDArray[np.float32]

_PASSES = 5
_SMALLEST = 0.001


@dataclass(frozen=True)
class Tables:
    """What a pass leaves: losses of shape (days, cells), (0, cells) without a learner, and what there is to say."""

    fitted: Singles
    online: Singles
    learner: str
    refused: str
    notes: list[str]


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

    def check_start(self) -> None:
        """Raises `UsageError` when there is nothing to learn from on the first morning, or nothing to replay."""
        import numpy as np

        if self.from_day[0] == len(self.history.label):
            raise UsageError(
                "no row with a label lies in the replayed period; look at the label column, or lower start_days"
            )
        found = np.unique(self.history.label[self.window(0)])
        if len(found) < 2:
            when = self._date(0)
            has = f"only the label {self.history.classes[found[0]]!r}" if len(found) else "no label at all"
            raise UsageError(
                f"in the {self.task.train_days} days before the morning of {when}, {has} has arrived, so that no "
                "first model can be fitted; raise train_days and start_days, or look at the delay of the labels"
            )

    def _date(self, day: int) -> date:
        return self.history.first + timedelta(days=self.start + day)

    def run(self, estimator: Any, learners: Sequence[tuple[str, Any]], folder: Path) -> Tables:
        """Losses of every morning's model, and of the incremental learner as it then was, in every later cell.

        One thread of linear algebra a fit, since many small fits side by side are several times faster than one after
        the other on all cores. Every sixteenth morning is fitted first; those up to the next may start from its model,
        whoever fits them and in whatever order, so that the outcome depends on none of that.
        """
        from threadpoolctl import threadpool_limits

        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        fitted = self._table()
        fits = Fits(self, estimator, folder)
        with threadpool_limits(1), ThreadPoolExecutor(cores) as pool:
            try:
                learnt = pool.submit(self.learn_first, learners)
                for days in fits.waves():
                    for day, losses in zip(days, pool.map(fits.fit, days)):
                        fitted[day, self.cell_starts[day] :] = losses
                notes = self._carry(fitted, fits.failed)
                return Tables(fitted, *learnt.result(), notes=notes)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _table(self) -> Singles:
        import numpy as np

        return np.zeros((self.days, len(self.cells)), dtype=np.float32)

    def _carry(self, fitted: Singles, failed: Mapping[int, str]) -> list[str]:
        """On mornings when nothing could be fitted, the newest model that could be stands in; returns what to say."""
        for day in sorted(failed):
            at = self.cell_starts[day]
            fitted[day, at:] = fitted[day - 1, at:]
        if not failed:
            return []
        first = min(failed)
        return [
            f"on {len(failed)} of {self.days} mornings no model could be fitted and a retraining kept the newest one "
            f"(the first: {self._date(first)}, {failed[first]})"
        ]

    def learn_first(self, learners: Sequence[tuple[str, Any]]) -> tuple[Singles, str, str]:
        """Losses of the first learner that does not refuse to learn, its name, and why those before it refused."""
        refused: list[str] = []
        for name, learner in learners:
            try:
                return self.learn(learner), name, "; ".join(refused)
            except (ValueError, TypeError, AttributeError, NotImplementedError) as error:
                refused.append(f"{name} refuses to learn incrementally ({str(error).strip().splitlines()[0]})")
        return self._table()[:0], "", "; ".join(refused)

    def learn(self, learner: Any) -> Singles:
        """The incremental learner's losses: it reads the first window some times, then each label once it arrives."""
        from sklearn import config_context

        rows = self._table()
        for _ in range(_PASSES):
            self._read(learner, self.window(0), 0)
        with config_context(assume_finite=True, skip_parameter_validation=True):
            for day in range(self.days):
                if day:
                    self._read(learner, self._arrived(self.start + day - 1, self.start + day), day)
                rows[day, self.cell_starts[day] :] = self.losses(learner, day)
        return rows

    def inputs(self, rows: Ints, day: int) -> Singles:
        """Features of some rows as the model of a morning sees them."""
        seen = self.history.seen[self.start + day]
        features = self.history.features[rows]
        if not seen.all():
            features[:, ~seen] = 0.0
        return features

    def _read(self, learner: Any, rows: Ints, day: int) -> None:
        import numpy as np

        classes = np.arange(len(self.history.classes))
        if len(rows):
            learner.partial_fit(self.inputs(rows, day), self.history.label[rows], classes=classes)

    def losses(self, model: Any, day: int) -> Floats:
        """Sum of the model's losses in every cell from `day` on."""
        import numpy as np

        first = self.from_day[day]
        cells = self.cells[self.cell_starts[day] :]
        if not len(cells):
            return np.zeros(0)
        losses = row_losses(model, self.history.features[first:], self.history.label[first:], self.task.loss)
        return np.add.reduceat(losses, cells - first)

    def replay(self, tables: Tables, notes: Sequence[str]) -> Replay:
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
            fitted=tables.fitted,
            online=tables.online,
            learner=tables.learner,
            refused=tables.refused,
            unchanged=np.array([wrong[low:high].sum() for low, high in zip(self.from_day, self.from_day[1:])]),
            by_day=own.by_day,
            by_arrival=own.by_arrival,
            feature_starts=own.feature_starts,
            notes=(*own.notes, *tables.notes, *notes),
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
