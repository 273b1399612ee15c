"""The fits of a pass: one a morning, kept as soon as it is made, so that a pass that was stopped makes none twice."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from weigh.choice import UsageError
from weigh.data.cache import replacing
from weigh.retrain.cadence._estimator import restarts, start_from

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.retrain.cadence._pass import Pass

    Singles = NDArray[np.float32]

SEGMENT = 16
"""Mornings of which the first is fitted from nothing, and the others from it where the solver allows."""
_STATE = ("coef_", "intercept_", "classes_")


class Fits:
    """The models of one pass; `failed` says of which mornings there is none, and why."""

    def __init__(self, made: Pass, estimator: Any, folder: Path) -> None:
        self.made, self.estimator, self.folder = made, estimator, folder
        self.failed: dict[int, str] = {}
        self._starts: dict[int, Any] = {}
        self._lock = threading.Lock()

    def waves(self) -> tuple[Sequence[int], Sequence[int]]:
        """The first mornings of all segments, then all other mornings."""
        days = range(self.made.days)
        return days[::SEGMENT], [day for day in days if day % SEGMENT]

    def fit(self, day: int) -> Singles:
        """Losses of the model of one morning in every later cell; zeros where none can be fitted.

        Raises:
            UsageError: the first morning's model cannot be fitted.
        """
        import numpy as np

        path = self.folder / f"{day:06d}.npz"
        with suppress(FileNotFoundError), np.load(path, allow_pickle=False) as kept:
            return self._settle(day, dict(kept))
        part = self._fitted(day)
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **part)
        return self._settle(day, part)

    def _settle(self, day: int, part: dict[str, Any]) -> Singles:
        with self._lock:
            if "coef_" in part:
                self._starts[day] = SimpleNamespace(**{name: part[name] for name in _STATE})
            if reason := str(part["failed"]):
                self.failed[day] = reason
        losses: Singles = part["losses"]
        return losses

    def _fitted(self, day: int) -> dict[str, Any]:
        """The part that is kept of a morning."""
        import numpy as np
        from sklearn import config_context
        from sklearn.base import clone

        made, none = self.made, np.zeros(len(self.made.cells) - self.made.cell_starts[day], dtype=np.float32)
        window = made.window(day)
        label = made.history.label[window]
        classes = np.unique(label)
        if len(classes) < 2:
            return {"losses": none, "failed": "of one class at most had labels arrived" if len(classes) else "no label"}
        model, again = clone(self.estimator), restarts(self.estimator)
        start = self._starts.get(day - day % SEGMENT) if again else None
        if start is not None and np.array_equal(start.classes_, classes):
            start_from(model, start, made.history.seen[made.start + day])
        try:
            with config_context(assume_finite=True, skip_parameter_validation=day > 0):
                model.fit(made.inputs(window, day), label)
                losses = made.losses(model, day).astype(np.float32)
        except ValueError as error:
            return {"losses": none, "failed": self._reason(day, error)}
        state = {name: getattr(model, name) for name in _STATE} if again and day % SEGMENT == 0 else {}
        return {"losses": losses, "failed": "", **state}

    def _reason(self, day: int, error: ValueError) -> str:
        """Why a morning has no model; where the first has none, nothing can be replayed."""
        if day == 0:
            task = self.made.task
            text = f"estimator: {task.estimator} with {task.params} cannot be fitted: {error}"
            raise UsageError(text) from error
        return str(error).strip().splitlines()[0]
