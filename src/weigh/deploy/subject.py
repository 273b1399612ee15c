"""The model that is deployed: named by a path or an MLflow URI, or chosen by a decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.choice import UsageError
from weigh.deploy.plan import value
from weigh.model.source import open_source

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weigh.decision import Decision, Lock
    from weigh.model.source import Source

EXAMPLES = 32
"""Rows with which exports are made and held against the model."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model with inputs like those that it will meet.

    Attributes:
        source: the checked model.
        rows: inputs by name, the first axis being rows; drawn at random where none were named.
        annotations: where the decision stands, if one chose it.
        platform: that a decision on serve/platform chose; empty otherwise.
        memory: in MB, as a decision on serve/platform measured it; None otherwise.
    """

    source: Source
    rows: Mapping[str, NDArray[Any]]
    annotations: Mapping[str, str]
    platform: str = ""
    memory: float | None = None

    @property
    def version(self) -> str:
        """The start of the digest of the model's content."""
        return self.source.digest[:12]


def of_path(model: Path, rows: Path | None, architecture: str = "") -> Subject:
    """A model by its path or URI.

    Args:
        rows: inputs (.npz, .csv, .parquet); labels in them are read by no one.

    Raises:
        UsageError: it cannot be opened, is a model of text, or the rows do not fit it.
    """
    source = _single(open_source(model, architecture))
    return Subject(source, _rows(source, rows), {})


def _single(source: Source) -> Source:
    """The model with the output that is asked for first, as serve/platform takes it."""
    if source.kind == "language":
        raise UsageError(
            f"{source.path} is a language model, which `weigh serve` serves; what `weigh deploy` writes is for models "
            "of rows"
        )
    if source.format != "onnx" or len(source.outputs) == 1:
        return source
    from weigh.model.answers import read_outputs
    from weigh.model.task import ModelTask

    task = ModelTask(model=source.path, data=source.path, scale=1.0)
    name = read_outputs(task, source.outputs).output
    return replace(source, outputs=tuple(one for one in source.outputs if one.name == name))


def _rows(source: Source, rows: Path | None) -> Mapping[str, NDArray[Any]]:
    import numpy as np

    if rows is not None:
        from weigh.model.rows import load_rows
        from weigh.model.task import ModelTask

        task = ModelTask(model=source.path, data=rows, architecture=source.architecture)
        found = load_rows(rows, task, source, labelled=False)
        return found.take(np.arange(min(EXAMPLES, len(found))))
    return {port.name: _drawn(source, port) for port in source.inputs}


def _drawn(source: Source, port: Any) -> NDArray[Any]:
    import numpy as np

    from weigh.model.rows import DTYPES

    if not port.shape or None in port.shape[1:] or port.type not in DTYPES or DTYPES[port.type] == "object":
        raise UsageError(
            f"{source.path} does not say what shape its input '{port.name}' has: name rows like those that it will "
            "meet with --rows FILE (.npz, .csv, .parquet)"
        )
    count = source.batch or EXAMPLES
    made = np.random.default_rng(0).normal(size=(count, *port.shape[1:]))
    return made.astype(DTYPES[port.type])


def of_decision(lock: Lock, made: Decision, record: str, folder: Path, rows: Path | None = None) -> Subject:
    """What a decision chose: of a compress choice the model that it chose, of serve/platform the model that it serves.

    Args:
        folder: where the chosen model is written.

    Raises:
        UsageError: nothing was chosen, or the choice says nothing of what is deployed.
    """
    noted = {"weigh/decision": value(made.lock.removeprefix("sha256:")[:16]), "weigh/chosen": str(made.chosen)}
    if lock.choice == "serve/platform":
        return _of_platform(lock, made, rows, noted)
    from weigh.apply import apply

    path = apply(lock, made, folder / "chosen", record=record, overwrite=True).model
    data = rows or Path(str(lock.task["data"]))
    source = _single(open_source(path))
    return Subject(source, _rows(source, data), noted)


def _of_platform(lock: Lock, made: Decision, rows: Path | None, noted: Mapping[str, str]) -> Subject:
    if made.chosen is None:
        raise UsageError(f"nothing was chosen ({made.answer}); name a model and --platform")
    task = lock.task
    found = of_path(Path(str(task["model"])), rows or Path(str(task["data"])), str(task.get("architecture", "")))
    measured = made.standing(made.chosen).measured.get("memory")
    memory = measured.estimate if measured else None
    return replace(found, annotations=noted, platform=made.chosen.partition(":")[0], memory=memory)
