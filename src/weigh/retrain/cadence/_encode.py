"""Features as numbers, such that no row's numbers depend on anything that happened after it.

Numbers are standardised by the mean and deviation of the first training window, and their gaps filled with its mean and
marked in a column of their own. Categories become one column each: the most frequent of the first window, then new
ones in the order of their arrival, up to twice as many; all others share the state of having none.
A column is constant until its category (or the first gap) appears, so that having it earlier tells a model nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weigh.choice import UsageError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float32]
    Ints = NDArray[np.int64]

LEVELS, BINS = 30, 10


def encoded(frame: pl.DataFrame, features: Sequence[str], first: Bools) -> tuple[Floats, Ints, Ints, int]:
    """A matrix without gaps, and the bin of each row and feature for measuring drift.

    Args:
        frame: all rows in order of time.
        features: columns to encode.
        first: which rows belong to the first training window.

    Returns:
        the matrix (rows, columns); the bins (rows, features), numbered through; where each feature's bins begin; how
        many bins there are.
    """
    import numpy as np

    columns, bins, starts, width = [], [], [], 0
    for name in features:
        made, cells, count = _column(frame[name], first)
        columns.append(made)
        bins.append(cells + width)
        starts.append(width)
        width += count
    return np.hstack(columns), np.stack(bins, axis=1), np.array(starts), width


def _column(column: pl.Series, first: Bools) -> tuple[Floats, Ints, int]:
    import polars as pl

    kind = column.dtype
    if kind.is_numeric() or kind == pl.Boolean:
        return _number(column.cast(pl.Float64).to_numpy(), first)
    if kind in (pl.String, pl.Categorical, pl.Enum):
        return _category(column.cast(pl.String), first)
    raise UsageError(
        f"features: {column.name!r} is {kind}; make it a number, a boolean or a text (of a date: its weekday, its hour)"
    )


def _number(values: NDArray[np.float64], first: Bools) -> tuple[Floats, Ints, int]:
    import numpy as np

    gap = ~np.isfinite(values)
    known = values[first & ~gap]
    mean, deviation = (known.mean(), known.std()) if known.size else (0.0, 1.0)
    scaled = np.where(gap, 0.0, (values - mean) / (deviation or 1.0)).astype(np.float32)
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if known.size else np.empty(0)
    bins = np.where(gap, edges.size + 1, np.searchsorted(edges, values, side="right"))
    made = np.stack([scaled, gap.astype(np.float32)], axis=1) if gap.any() else scaled[:, None]
    return made, bins, edges.size + 2


def _category(values: pl.Series, first: Bools) -> tuple[Floats, Ints, int]:
    import numpy as np
    import polars as pl

    seen = values.filter(pl.Series(first)).drop_nulls()
    frequent = seen.value_counts(name="rows").sort("rows", seen.name, descending=[True, False])[seen.name]
    later = values.filter(pl.Series(~first)).drop_nulls().unique(maintain_order=True)
    later = later.filter(~later.is_in(seen.unique().implode()))
    levels = pl.concat([frequent.head(LEVELS), later.head(LEVELS)])
    count = levels.len()
    codes = values.replace_strict(levels, pl.int_range(count, eager=True), default=count, return_dtype=pl.Int64)
    bins = codes.fill_null(count).to_numpy()
    return np.eye(count + 1, count, dtype=np.float32)[bins], bins, count + 1
