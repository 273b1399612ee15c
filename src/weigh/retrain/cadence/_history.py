"""The user's table as arrays: rows in order of day and of arrival of their labels, features as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from weigh.choice import UsageError
from weigh.data import require
from weigh.retrain.cadence import CadenceTask
from weigh.retrain.cadence._leak import refuse_copies, refuse_known_later

if TYPE_CHECKING:
    from datetime import date

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

LEAST_BLOCKS = 6
_DAY = 86_400_000_000
_TIME, _KNOWN = " time", " known"


@dataclass(frozen=True)
class History:
    """Labelled rows, sorted by day and then by the morning on which their label is known.

    Days and mornings count from midnight (UTC where the time has a zone) before the first row: the morning of day d is
    its midnight. A label is known on a morning when it arrived before it; never on the morning of its own row's day.
    """

    first: date
    days: int
    features: NDArray[np.float32]
    seen: NDArray[np.bool_]
    """Which columns of `features` the model of each morning sees, shape (days, columns)."""
    classes: tuple[str, ...]
    label: Ints
    day: Ints
    arrival: Ints
    unchanged: Ints
    """The class of the label that had arrived last when the row came; -1 where none had."""
    by_day: Ints
    """Rows of each feature's bins on days before d, shape (days + 1, bins); rows without a label count."""
    by_arrival: Ints
    """The same of labelled rows whose label is known on the morning of d or before."""
    feature_starts: Ints
    """Where each feature's bins begin."""
    notes: tuple[str, ...]
    """What could not be encoded as one would wish."""


def history_of(task: CadenceTask) -> History:
    """Read, check and encode the table.

    Raises:
        UsageError, DataError: the table cannot be replayed; the text says why and what to change.
    """
    import numpy as np

    from weigh.retrain.cadence._encode import Windows, encoded

    frame = _read(task)
    origin = frame[_TIME][0] // _DAY * _DAY
    time, known = frame[_TIME].to_numpy() - origin, frame[_KNOWN].fill_null(0).to_numpy() - origin
    day = time // _DAY
    arrival = np.maximum(-(-known // _DAY), day + 1)
    labelled = frame[task.label].is_not_null().to_numpy()
    classes, label = _codes(frame, task.label)
    unchanged = np.full(len(day), -1)
    unchanged[labelled] = _last_known(time[labelled], known[labelled], label[labelled])
    days, start = int(day[-1]) + 1, task.start_days or task.train_days
    need_blocks(days, start, task.block_days)
    refuse_copies(frame, task.features, label)
    windows = Windows(np.where(labelled, arrival, days + task.train_days), start, days, task.train_days)
    made = encoded(frame, task.features, day < start, windows)
    keep = np.flatnonzero(labelled)
    keep = keep[np.lexsort((arrival[keep], day[keep]))]
    return History(
        first=_date(frame, task.time),
        days=days,
        features=made.matrix[keep],
        seen=made.seen,
        classes=classes,
        label=label[keep],
        day=day[keep],
        arrival=arrival[keep],
        unchanged=unchanged[keep],
        by_day=_counts(made.bins, day + 1, days + 1, made.width),
        by_arrival=_counts(made.bins[labelled], arrival[labelled], days + 1, made.width),
        feature_starts=made.starts,
        notes=made.notes,
    )


def _read(task: CadenceTask) -> pl.DataFrame:
    """The columns that are needed, with the moments of prediction and of the label in microseconds."""
    import polars as pl

    times = [task.time, *([task.label_time] if task.label_time else [])]
    lazy = require(
        task.history,
        columns=[*task.features, task.label],
        times=times,
        label=task.label,
        sorted_by=task.time,
        key=[task.key] if task.key else [],
    )
    refuse_known_later(task)
    _one_clock(lazy.collect_schema(), task)
    moment = pl.col(task.time).cast(pl.Datetime("us")).to_physical()
    known = moment + round(task.delay * _DAY)
    if task.label_time:
        known = pl.col(task.label_time).cast(pl.Datetime("us")).to_physical()
    columns = list(dict.fromkeys([*times, task.label, *task.features]))
    frame = lazy.select(*columns, moment.alias(_TIME), known.alias(_KNOWN)).collect(engine="streaming")
    if frame[task.label].dtype.is_float():
        frame = frame.with_columns(pl.col(task.label).fill_nan(None))
    if empty := frame[_TIME].null_count():
        raise UsageError(f"time: {task.time!r} is empty in {empty} rows: drop them, or fill the column")
    _check_labels(frame, task)
    return frame


def _one_clock(schema: pl.Schema, task: CadenceTask) -> None:
    """Raises `UsageError` when one time has a zone and the other has none: hours would be lost between them."""
    import polars as pl

    kinds = {name: schema[name] for name in (task.time, task.label_time) if name}
    zones = {name: kind.time_zone for name, kind in kinds.items() if isinstance(kind, pl.Datetime)}
    without = [name for name, zone in zones.items() if zone is None]
    if without and len(without) < len(zones):
        raise UsageError(
            f"time, label_time: {without[0]!r} has no time zone and the other has one, so that nobody can say how long "
            f"labels take; type .with_columns(pl.col({without[0]!r}).dt.replace_time_zone('UTC')) with its zone"
        )


def _check_labels(frame: pl.DataFrame, task: CadenceTask) -> None:
    import polars as pl

    labelled = frame.filter(pl.col(task.label).is_not_null())
    if missing := labelled[_KNOWN].null_count():
        raise UsageError(
            f"label_time: {task.label_time!r} is empty in {missing} rows that have a label; fill it, "
            "or empty the label there"
        )
    early = labelled.filter(pl.col(_KNOWN) < pl.col(_TIME))
    if early.height:
        row = early.row(0, named=True)
        raise UsageError(
            f"label_time: {early.height} labels are known before their prediction (the first: {row[task.label_time]} "
            f"against {row[task.time]}); swap the columns, or state the moment at which the label arrived"
        )


def need_blocks(days: int, start: int, block_days: int) -> None:
    """Raises `UsageError` when too few blocks are left after the start."""
    if days - start < LEAST_BLOCKS * block_days:
        raise UsageError(
            f"the history covers {days} days, of which {start} come before the replay: {max(days - start, 0)} are "
            f"left, and {LEAST_BLOCKS} blocks of {block_days} days are the least to choose on and to judge by; bring a "
            "longer history, or lower train_days, start_days or block_days"
        )


def _codes(frame: pl.DataFrame, label: str) -> tuple[tuple[str, ...], Ints]:
    """The classes in order, and the class of each row; -1 where there is no label."""
    import polars as pl

    values = frame[label]
    classes = values.drop_nulls().unique().sort()
    if classes.len() > 100:
        raise UsageError(
            f"label: {label!r} holds {classes.len()} different values, but policies are replayed with a classifier; "
            "name a label with a few classes, or cut the number into ranges first"
        )
    codes = values.replace_strict(classes, pl.int_range(classes.len(), eager=True), default=-1, return_dtype=pl.Int64)
    return tuple(str(value) for value in classes), codes.fill_null(-1).to_numpy()


def _last_known(time: Ints, known: Ints, label: Ints) -> Ints:
    """For each row, the label that had arrived last, strictly before; -1 where none had."""
    import numpy as np

    order = np.argsort(known, kind="stable")
    place = np.searchsorted(known[order], time, side="left")
    return np.where(place > 0, label[order][place - 1], -1)


def _counts(bins: Ints, when: Ints, length: int, width: int) -> Ints:
    """How many rows fell into each bin at each time or before, shape (length, width); `bins` is (rows, features)."""
    import numpy as np

    inside = when < length
    flat = (when[inside, None] * width + bins[inside]).ravel()
    return np.bincount(flat, minlength=length * width).reshape(length, width).cumsum(axis=0)


def _date(frame: pl.DataFrame, time: str) -> date:
    import polars as pl

    first: date = frame[time].head(1).cast(pl.Datetime("us")).dt.date()[0]
    return first
