"""Labelled rows, in the form in which the model takes them: from a table or from an .npz, checked."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.choice import UsageError, unknown
from weigh.model.source import Port, Source

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.model.task import ModelTask

DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}


_SAVE = "numpy.savez('{}', X=X.astype('float32'), y=y)"


@dataclass(frozen=True, slots=True)
class Rows:
    """Inputs by name, the first axis being rows, and the labels as they are written (None where not read)."""

    feeds: Mapping[str, NDArray[Any]]
    labels: NDArray[Any] | None

    def __len__(self) -> int:
        return len(next(iter(self.feeds.values())))

    def take(self, places: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
        """The inputs of some rows."""
        return {name: values[places] for name, values in self.feeds.items()}


def load_rows(path: Path, task: ModelTask, model: Source, labelled: bool = True) -> Rows:
    """Read the model's inputs, and the labels if wanted.

    Raises:
        UsageError: the file cannot be read, lacks a column, has another number of features than the model, or holds
            gaps; or all labels are the same.
    """
    read = _from_npz if path.suffix == ".npz" else _from_table
    rows = read(path, task, model, labelled)
    for name, values in rows.feeds.items():
        _need_numbers(path, name, values)
        if len(values) != len(rows):
            raise UsageError(
                f"{path}: the input '{name}' has {len(values)} values for {len(rows)} rows; give one value a row, "
                "repeated where all rows share it"
            )
    if rows.labels is not None:
        _need_labels(task.label, rows)
    return rows


def _from_npz(path: Path, task: ModelTask, model: Source, labelled: bool) -> Rows:
    import numpy as np

    if not path.is_file():
        raise UsageError(f"data={path}: there is no such file; you are in {Path.cwd()}")
    if not zipfile.is_zipfile(path):
        raise UsageError(f"data={path} is no .npz archive; write one: {_SAVE.format(path)}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise UsageError(
            f"data={path} cannot be read: {_told(error)}. An .npz must hold plain arrays, never pickled objects "
            f"(loading those can run any code): {_SAVE.format(path)}"
        ) from None
    single = len(model.inputs) == 1 and model.inputs[0].name not in arrays
    names = {model.inputs[0].name: "X"} if single else {port.name: port.name for port in model.inputs}
    wanted = [*names.values(), *([task.label] if labelled else [])]
    for name in wanted:
        if name not in arrays:
            label = (
                "; right answers are what a model is judged by: name theirs with label=" if name == task.label else ""
            )
            raise UsageError(unknown("array", name, list(arrays), f"in {path}") + label)
    feeds = {port.name: _shaped(arrays[names[port.name]], port, path) for port in model.inputs}
    return Rows(feeds, arrays[task.label] if labelled else None)


def _told(error: Exception) -> str:
    """What NumPy says, without its advice to unpickle."""
    return "it holds pickled objects" if "allow_pickle" in str(error) else str(error)


def _from_table(path: Path, task: ModelTask, model: Source, labelled: bool) -> Rows:
    from weigh.data import DataError, require

    label = [task.label] if labelled else []
    try:
        if labelled:
            _need_label(path, task.label, require(path).collect_schema().names())
        columns = task.inputs or [
            name for name in require(path, columns=label).collect_schema().names() if name != task.label
        ]
        single = len(model.inputs) == 1
        numeric = single and model.inputs[0].type != "tensor(string)"
        wanted = list(columns) if single else [port.name for port in model.inputs]
        frame = require(path, columns=[*wanted, *label], numeric=wanted if numeric else []).select([*wanted, *label])
        table = frame.collect(engine="streaming")
    except DataError as error:
        raise UsageError(str(error)) from None
    ports = model.inputs
    if single:
        _need_width(path, wanted, ports[0], task)
    parts = {ports[0].name: wanted} if single else {port.name: [port.name] for port in ports}
    for name in [*wanted, *label]:
        if table[name].null_count():
            raise UsageError(
                f"{path}: the column '{name}' has {table[name].null_count()} gaps; fill them or leave the rows out"
            )
    feeds = {port.name: _folded(table.select(parts[port.name]).to_numpy(), port, path) for port in ports}
    return Rows(feeds, table[task.label].to_numpy() if labelled else None)


def _need_label(path: Path, label: str, names: Sequence[str]) -> None:
    if label not in names:
        near = get_close_matches(label, names, n=1, cutoff=0.4)
        hint = f"; did you mean '{near[0]}'? Right" if near else "; right"
        some = ", ".join(names) if len(names) <= 12 else f"{', '.join(names[:6])}, ..., {', '.join(names[-6:])}"
        raise UsageError(
            f"{path} has no column '{label}'{hint} answers are what a model is judged by: name theirs with "
            f"label=COLUMN (its {len(names)} columns: {some})"
        )


def _need_width(path: Path, columns: Sequence[str], port: Port, task: ModelTask) -> None:
    width = _width(port)
    if width is not None and width != len(columns):
        some = ", ".join(columns[:4]) + (", ..." if len(columns) > 4 else "")
        raise UsageError(
            f"the model takes {width} features (input '{port.name}'), but {path} gives {len(columns)} ({some}); name "
            f"the columns in the model's order: inputs=[...]{'' if task.inputs else f' (now: all but {task.label})'}"
        )


def _width(port: Port) -> int | None:
    """How many numbers one row has; None where the model does not say."""
    inner = port.shape[1:]
    return None if None in inner else math.prod(size or 1 for size in inner)


def _folded(values: NDArray[Any], port: Port, path: Path) -> NDArray[Any]:
    """A table's columns in the shape of the input: a row of 64 numbers may be an 8 x 8 image."""
    inner = port.shape[1:]
    if None not in inner:
        values = values.reshape(len(values), *inner)
    return _typed(values, port, path)


def _shaped(values: NDArray[Any], port: Port, path: Path) -> NDArray[Any]:
    inner = port.shape[1:]
    fits = values.ndim == len(port.shape) and all(want in (None, have) for want, have in zip(inner, values.shape[1:]))
    if port.shape and not fits:
        raise UsageError(
            f"the input '{port.name}' takes {_drawn(port.shape)}, but {path} holds {_drawn(values.shape)}; reshape the "
            "array, or take the model that belongs to it"
        )
    if values.ndim == 0:
        raise UsageError(
            f"the input '{port.name}' is a single number in {path}, but each row needs its own; make it a "
            " constant of the model, or give one value a row"
        )
    return _typed(values, port, path)


def _typed(values: NDArray[Any], port: Port, path: Path) -> NDArray[Any]:
    import numpy as np

    if port.type not in DTYPES:
        raise UsageError(
            f"the input '{port.name}' is {port.type}, which rows of {path} cannot give; export the model with tensors"
        )
    wanted = np.dtype(DTYPES[port.type])
    if values.dtype.kind not in ("biuf" if wanted.kind in "biuf" else "OUSbiuf"):
        raise UsageError(f"the input '{port.name}' is {port.type}, but {path} gives {values.dtype}; convert it first")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=DTYPES[port.type])


def _drawn(shape: Sequence[int | None]) -> str:
    return " x ".join("any" if size is None else str(size) for size in shape) or "one number"


def _need_numbers(path: Path, name: str, values: NDArray[Any]) -> None:
    import numpy as np

    if values.dtype.kind != "f":
        return
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, *place = bad[0].tolist()
        where = f", feature {place[0] + 1}" if place else ""
        raise UsageError(
            f"{path}: the input '{name}' holds {values[tuple(bad[0])]} in row {row}{where} ({len(bad)} such values as "
            f"{values.dtype}); fill the gaps as the training did, or leave the rows out"
        )


def _need_labels(label: str, rows: Rows) -> None:
    import numpy as np

    values = rows.labels
    assert values is not None
    if values.shape != (len(rows),):
        raise UsageError(f"'{label}' has the shape {values.shape} for {len(rows)} rows; give one label a row")
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise UsageError(f"'{label}' has {int(np.isnan(values).sum())} gaps; leave those rows out")
    if len(values) and len(np.unique(values)) < 2:
        raise UsageError(
            f"'{label}' is {values.tolist()[0]!r} in every row: any model would do; give rows of at least two kinds"
        )


def whole(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels as integers where they are whole numbers or booleans, as text where they are objects."""
    import numpy as np

    if labels.dtype.kind in "bui" or (labels.dtype.kind == "f" and np.all(labels == np.round(labels))):
        return labels.astype(np.int64)
    return labels.astype(str) if labels.dtype.kind == "O" else labels
