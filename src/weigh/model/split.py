"""Which rows calibrate and which judge: never the same, not even as duplicates."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weigh.choice import Blocks, UsageError
from weigh.model.rows import Rows, load_rows
from weigh.model.source import Source
from weigh.model.task import Calibration, ModelTask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FEWEST = 50


@dataclass(frozen=True, slots=True)
class Split:
    """Calibration rows, the places of the rows that judge, and how many rows do neither since they are repeated."""

    calibration: Calibration
    judged: NDArray[np.intp]
    left_out: int


def split_rows(task: ModelTask, model: Source, rows: Rows) -> Split:
    """The same in every run, whatever its seed.

    Distinct inputs are drawn, not rows, so that a row's chance to be left out does not depend on how often it occurs.

    Raises:
        UsageError: too few rows are left to judge on, or to calibrate on.
    """
    import numpy as np

    keys = _keys(rows)
    if task.calibration:
        source = load_rows(task.calibration, task, model, labelled=False)
        theirs = _keys(source)
        chosen = np.sort(np.random.default_rng(0).permutation(len(source))[: task.calibration_rows])
    else:
        source, theirs = rows, keys
        distinct = np.array(list(dict.fromkeys(keys)), dtype=object)
        drawn = set(distinct[np.random.default_rng(0).permutation(len(distinct))[: task.calibration_rows]])
        first = {key: place for place, key in reversed(list(enumerate(keys)))}
        chosen = np.array(sorted(first[key] for key in drawn), dtype=np.intp)
    seen = {theirs[place] for place in chosen}
    judged = np.array([place for place, key in enumerate(keys) if key not in seen], dtype=np.intp)
    spent = 0 if task.calibration else len(chosen)
    left_out = len(rows) - len(judged) - spent
    if len(judged) < FEWEST:
        raise UsageError(_too_few(task, len(rows), len(judged), spent, left_out))
    if not len(chosen):
        raise UsageError(f"{task.calibration or task.data} leaves no rows to calibrate on: it has none; give some")
    if len(chosen) < (model.batch or 1):
        raise UsageError(f"{len(chosen)} calibration rows do not fill one batch of {model.batch}; give more rows")
    known = None if source.labels is None else source.labels[chosen]
    return Split(Calibration(source.take(chosen), model.batch, known), judged, left_out)


def _keys(rows: Rows) -> list[bytes]:
    """A digest of each row's inputs."""
    parts = [values.tolist() if values.dtype == object else values for values in rows.feeds.values()]
    return [
        hashlib.blake2b(b"".join(_bytes(values[place]) for values in parts), digest_size=16).digest()
        for place in range(len(rows))
    ]


def _bytes(value: object) -> bytes:
    return value.tobytes() if hasattr(value, "tobytes") else repr(value).encode()


def _too_few(task: ModelTask, rows: int, judged: int, spent: int, left_out: int) -> str:
    what = f"{spent} of them for calibration" if spent or not left_out else f"{left_out} of them are calibrated on"
    if spent and left_out:
        what += f" and {left_out} that repeat those"
    fewer = spent and rows >= 2 * FEWEST
    return (
        f"{task.data} has {rows} rows; {what} leave {judged} to judge on, and {FEWEST} are the fewest: give more rows"
        + (f", or calibration_rows={max(1, min(rows, spent) // 10)}" if fewer else "")
        + (", or other rows: calibration=..." if left_out else "")
    )


def cut_rows(rows: int, task: ModelTask) -> tuple[NDArray[np.intp], Blocks]:
    """Where each block's rows begin in the shuffled order, and how many blocks there are."""
    import numpy as np

    held = round(rows * task.held_back)
    race = min(task.rounds, rows - held)
    fresh = min(held, max(20, race // 2))
    first = np.linspace(0, rows - held, race + 1).round().astype(np.intp)
    last = np.linspace(rows - held, rows, fresh + 1).round().astype(np.intp)[1:]
    return np.concatenate([first, last]), Blocks(race=race, fresh=fresh, population=rows if task.finite else None)
