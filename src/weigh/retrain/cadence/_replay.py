"""What all policies share: the loss, on every day, of every model that could have been in service."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Singles = NDArray[np.float32]
    Ints = NDArray[np.int64]

_ROWS = 64
"""Rows of a table that are summed at once: in double precision all of them would take twice the table's memory."""


@dataclass(frozen=True)
class Replay:
    """The replayed days, counted from 0, and the two tables of models; nothing here depends on a policy or a price.

    Losses are kept a cell: the rows of one day whose labels are first known on one morning. Cells are sorted by day and
    then by morning.
    """

    first: str
    """Date of day 0, ISO 8601."""
    start: int
    """Days of history before day 0."""
    train_days: int
    cell_starts: Ints
    """Where each day's cells begin, shape (days + 1,)."""
    cell_arrival: Ints
    """The morning on which a cell's labels are first known, shape (cells,)."""
    cell_rows: Ints
    fitted: Singles
    """Sum of the losses in each cell of the model fitted on each morning, shape (days, cells); zero before it."""
    online: Singles
    """The same of the incremental learner as it was on each morning; shape (0, cells) where there is none."""
    unchanged: Floats
    """Sum of the losses a day of predicting the label that arrived last, shape (days,)."""
    by_day: Ints
    by_arrival: Ints
    feature_starts: Ints
    """As in `History`: there, days count from its first."""
    learner: str
    """What the incremental learner is; empty where there is none."""
    refused: str
    """Why a learner that should have been it is not; empty where none was tried in vain."""
    notes: tuple[str, ...]
    """What went less than well when the models were fitted."""

    @property
    def days(self) -> int:
        """How many days are replayed."""
        return len(self.cell_starts) - 1

    @cached_property
    def rows(self) -> Ints:
        """Labelled rows a day."""
        import numpy as np

        return np.diff(_at_days(self.cell_rows[None], self.cell_starts)[0])

    @cached_property
    def arrived_rows(self) -> Ints:
        """Labels of replayed rows first known on each morning, the same whatever was in service."""
        import numpy as np

        return np.bincount(self.cell_arrival, self.cell_rows, minlength=self.days + 1)

    @cached_property
    def fitted_by_day(self) -> Floats:
        """Losses of the models of `fitted`, summed up to each day (excluded), shape (days, days + 1)."""
        return _at_days(self.fitted, self.cell_starts)

    @cached_property
    def online_by_day(self) -> Floats:
        """The same of `online`."""
        return _at_days(self.online, self.cell_starts)

    def save(self, path: Path) -> None:
        """Write all arrays to one file (.npz, no pickles)."""
        import numpy as np

        with path.open("wb") as stream:
            np.savez(
                stream,
                allow_pickle=False,
                **{field.name: np.asarray(getattr(self, field.name)) for field in fields(self)},
            )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        import numpy as np

        with np.load(path, allow_pickle=False) as stored:
            return cls(**{field.name: _plain(field.name, stored[field.name]) for field in fields(cls)})


def _plain(name: str, value: Any) -> Any:
    if name == "notes":
        return tuple(str(note) for note in value)
    return value.item() if value.ndim == 0 else value


def _at_days(cells: Any, starts: Ints) -> Any:
    """Sums over cells up to the first cell of each day, shape (..., days + 1), in double precision."""
    import numpy as np

    sums = np.zeros((len(cells), len(starts)), np.int64 if cells.dtype.kind == "i" else np.float64)
    some = np.flatnonzero(np.diff(starts))
    for low in range(0, len(cells) if some.size else 0, _ROWS):
        part = slice(low, low + _ROWS)
        sums[part, some + 1] = np.add.reduceat(cells[part], starts[some], axis=1, dtype=sums.dtype)
    return np.cumsum(sums, axis=1, out=sums)
