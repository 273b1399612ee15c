"""Features as numbers, such that no row's numbers depend on anything that happened after it.

Numbers are standardised by the mean and deviation of the first training window, and their gaps filled with its mean and
marked in a column of their own. Categories become one column each; the model of a morning sees those columns alone
whose category is among the most frequent of its own training window, as if its encoder were fitted with it.
A column is constant until its category (or the first gap) appears, so that having it earlier tells a model nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weigh.choice import UsageError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float32]
    Ints = NDArray[np.int64]

LEVELS, MOST, BINS = 30, 200, 10


@dataclass(frozen=True)
class Windows:
    """The training windows: that of morning `d` holds the rows that arrived after morning `d - length`, up to `d`."""

    arrival: Ints
    """The morning on which each row's label is known, shape (rows,); one that never comes for rows without."""
    start: int
    end: int
    length: int


@dataclass(frozen=True)
class Encoded:
    """All rows as numbers."""

    matrix: Floats
    """Shape (rows, columns), without gaps."""
    seen: Bools
    """Which columns the model of each morning sees, shape (windows.end, columns)."""
    bins: Ints
    """The bin of each row and feature for measuring drift, numbered through, shape (rows, features)."""
    starts: Ints
    """Where each feature's bins begin."""
    width: int
    """How many bins there are."""
    notes: tuple[str, ...]
    """What could not be encoded as one would wish."""


def encoded(frame: pl.DataFrame, features: Sequence[str], first: Bools, windows: Windows) -> Encoded:
    """A matrix without gaps, and bins for measuring drift.

    Args:
        frame: all rows in order of time.
        features: columns to encode.
        first: which rows belong to the first training window.
        windows: what each morning's model learns from.

    Raises:
        UsageError: a feature is neither number, boolean nor text.
    """
    import numpy as np

    columns, seen, bins, starts, width, notes = [], [], [], [], 0, []
    for name in features:
        made, cells, count = _column(frame[name], first)
        shown = np.ones((windows.end, made.shape[1] if made is not None else 0), dtype=bool)
        if made is None:
            made, shown, note = _many(frame[name], windows)
            notes += [note] if note else []
        columns.append(made)
        seen.append(shown)
        bins.append(cells + width)
        starts.append(width)
        width += count
    return Encoded(np.hstack(columns), np.hstack(seen), np.stack(bins, axis=1), np.array(starts), width, tuple(notes))


def _column(column: pl.Series, first: Bools) -> tuple[Floats | None, Ints, int]:
    """Columns, None for a text of many values; the bin of each row; how many bins there are."""
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


def _category(values: pl.Series, first: Bools) -> tuple[Floats | None, Ints, int]:
    """Bins are the most frequent of the first window, then new values in order of arrival, up to twice as many."""
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
    few = frequent.len() + later.len() <= LEVELS
    return np.eye(count + 1, count, dtype=np.float32)[bins] if few else None, bins, count + 1


def _many(column: pl.Series, windows: Windows) -> tuple[Floats, Bools, str]:
    """Columns of the values that are frequent in some window, and which of them are so in each."""
    import numpy as np
    import polars as pl

    values = column.cast(pl.String)
    levels = values.drop_nulls().unique(maintain_order=True)
    codes = values.replace_strict(levels, pl.int_range(levels.len(), eager=True), default=-1, return_dtype=pl.Int64)
    code = codes.fill_null(-1).to_numpy()
    tops = _frequent(code, levels.len(), windows)
    union = list(dict.fromkeys(int(level) for top in tops for level in top))
    place = np.full(levels.len() + 1, min(len(union), MOST))
    place[union[:MOST]] = np.arange(len(union[:MOST]))
    seen = np.zeros((windows.end, len(union[:MOST]) + 1), dtype=bool)
    for morning, top in enumerate(tops, start=windows.start):
        seen[morning, place[top]] = True
    note = f"{column.name}: {len(union)} values are among the {LEVELS} most frequent of some training window"
    matrix = np.eye(len(union[:MOST]) + 1, len(union[:MOST]), dtype=np.float32)[place[code]]
    return matrix, seen[:, :-1], f"{note}, and only the first {MOST} of them have columns" * (len(union) > MOST)


def _frequent(code: Ints, levels: int, windows: Windows) -> list[Ints]:
    """The most frequent values of each morning's window; of equally frequent ones those that came first."""
    import numpy as np

    rows = np.flatnonzero(code >= 0)
    rows = rows[np.argsort(windows.arrival[rows], kind="stable")]
    arrivals, values = windows.arrival[rows], code[rows]

    def arrived(after: int, until: int) -> Ints:
        low, high = np.searchsorted(arrivals, [after, until], side="right")
        return np.bincount(values[low:high], minlength=levels)

    tops, length = [], windows.length
    count = arrived(windows.start - 1 - length, windows.start - 1)
    for morning in range(windows.start, windows.end):
        count += arrived(morning - 1, morning) - arrived(morning - 1 - length, morning - length)
        found = np.flatnonzero(count)
        tops.append(found[np.argsort(-count[found], kind="stable")[:LEVELS]])
    return tops
