"""Features that nobody has at prediction: the label itself, or a copy of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weigh.choice import UsageError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from weigh.retrain.cadence import CadenceTask

    Ints = NDArray[np.int64]

_TELLS, _FEW = 0.9995, 100


def refuse_known_later(task: CadenceTask) -> None:
    """Raises `UsageError` when the label or its time is among the features."""
    for name in (task.label, task.label_time):
        if name in task.features:
            raise UsageError(f"features: {name!r} is known only after the prediction; leave it out of the features")


def refuse_copies(frame: pl.DataFrame, features: Sequence[str], label: Ints) -> None:
    """Raises `UsageError` when one feature alone tells the label, as no honest feature does.

    Args:
        frame: all rows.
        features: columns to look at.
        label: the class of each row, -1 where there is none.
    """
    for name in features:
        told = _told(frame[name], label)
        if told > _TELLS:
            raise UsageError(
                f"features: {name!r} alone tells the label (it explains {told:.2%} of it), so that it must be a copy "
                "of it, or be known only afterwards; leave it out of the features"
            )


def _told(column: pl.Series, label: Ints) -> float:
    """How well a column tells the label, 1 for perfectly: of numbers and two classes |2 AUC - 1|, else R squared."""
    import polars as pl

    kind, classes = column.dtype, int(label.max()) + 1
    known = pl.Series(label >= 0) & column.is_not_null()
    if kind.is_float():
        known &= column.is_finite()
    values, own = column.filter(known), label[known.to_numpy()]
    if values.len() < _FEW or classes < 2:
        return 0.0
    if classes == 2 and (kind.is_numeric() or kind == pl.Boolean):
        return _separation(values.cast(pl.Float64).to_numpy(), own)
    return _explained(values, own) if values.n_unique() <= _FEW else 0.0


def _separation(values: NDArray[np.float64], label: Ints) -> float:
    import numpy as np

    lower, upper = np.sort(values[label == 0]), values[label == 1]
    if not len(lower) or not len(upper):
        return 0.0
    below = np.searchsorted(lower, upper, side="left") + np.searchsorted(lower, upper, side="right")
    return abs(float(below.mean()) / len(lower) - 1.0)


def _explained(values: pl.Series, label: Ints) -> float:
    """The share of each class's variance between the groups of equal values; of the class that is told worst."""
    import numpy as np

    group = _codes(values)
    table = np.zeros((int(group.max()) + 1, int(label.max()) + 1))
    np.add.at(table, (group, label), 1)
    rows, ones = table.sum(axis=1, keepdims=True), table.sum(axis=0)
    between = (table**2 / np.maximum(rows, 1)).sum(axis=0) - ones**2 / ones.sum()
    whole = ones - ones**2 / ones.sum()
    return float((between[whole > 0] / whole[whole > 0]).min()) if (whole > 0).any() else 0.0


def _codes(values: pl.Series) -> Ints:
    import numpy as np
    import polars as pl

    levels = values.unique(maintain_order=True)
    codes: Ints = values.replace_strict(levels, pl.int_range(levels.len(), eager=True)).to_numpy().astype(np.int64)
    return codes
