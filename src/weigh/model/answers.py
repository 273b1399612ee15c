"""What a model's output means: from tensors to answers, and from answers to how right they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from weigh.choice import UsageError, unknown
from weigh.model.source import Port, embeds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.model.probe import Probe
    from weigh.model.source import Source
    from weigh.model.task import ModelTask

WHOLE = ("tensor(int64)", "tensor(int32)", "tensor(string)", "tensor(bool)")
FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads answers off one output and scores them in [0, 1]."""

    output: str
    kind: Literal["label", "scores", "threshold", "value"]
    threshold: float
    scale: float
    classes: tuple[str, ...]

    def answers(self, raw: Any) -> NDArray[Any]:
        """One answer a row; -1 where scores are not numbers (an overflow of float16)."""
        import numpy as np

        rows = len(raw)
        if self.kind == "scores":
            table = np.asarray(raw).reshape(rows, -1)
            return np.where(np.isnan(table).any(axis=1), -1, table.argmax(axis=1))
        flat = np.asarray(raw).reshape(rows)
        if self.kind == "threshold":
            return np.where(np.isnan(flat), -1, flat > self.threshold)
        if flat.dtype == object:
            return flat.astype(str)
        return flat.astype(np.int64) if flat.dtype.kind in "bui" else flat

    def match(self, answers: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.float64]:
        """How right each answer is: 1 or 0 for classes, 1 - error / scale and at least 0 for numbers."""
        import numpy as np

        if self.kind != "value":
            return (answers == truth).astype(np.float64)
        errors = np.abs(answers.astype(np.float64) - truth) / self.scale
        return 1.0 - np.minimum(np.where(np.isnan(errors), 1.0, errors), 1.0)

    def truth(self, labels: NDArray[Any], label: str) -> NDArray[Any]:
        """The labels in the form in which answers come.

        Raises:
            UsageError: a label that the model cannot answer.
        """
        import numpy as np

        if self.kind == "value":
            return labels.astype(np.float64)
        if self.kind == "scores" and self.classes:
            place = {name: i for i, name in enumerate(self.classes)}
            names = [str(value) for value in labels.tolist()]
            for name in names:
                if name not in place:
                    raise UsageError(unknown("class", name, self.classes, f"(a value of '{label}') in classes"))
            return np.array([place[name] for name in names])
        if self.kind == "threshold" and (labels.dtype.kind not in "iu" or set(np.unique(labels).tolist()) != {0, 1}):
            raise UsageError(f"answer=threshold says 0 or 1, but '{label}' holds {_some(labels)}; write it as 0 and 1")
        if self.kind == "scores" and labels.dtype.kind not in "iu":
            raise UsageError(
                f"the column '{label}' holds {_some(labels)}, but the output '{self.output}' has scores by column; "
                "say which label each column stands for: classes=['cat', 'dog']"
            )
        return labels


def reader_of(task: ModelTask, source: Source) -> Reader | Probe:
    """How answers are read off a model: off an output, or off sentence vectors by the nearest centre of a label."""
    from weigh.model.probe import Probe

    return Probe() if embeds(source) else read_outputs(task, source.outputs)


def read_outputs(task: ModelTask, outputs: Sequence[Port]) -> Reader:
    """Which output to read, and how.

    Raises:
        UsageError: no output fits, or several do; the text says what to type.
    """
    port = _named(task, outputs) if task.output else _fitting(task, outputs)
    kind = task.answer if task.answer != "auto" else _kind(port)
    if kind == "label" and port.type not in WHOLE:
        raise UsageError(
            f"answer=label, but the output '{port.name}' is {port.type}; type answer=scores or answer=threshold"
        )
    if kind != "label" and port.type not in FLOATS:
        raise UsageError(f"answer={kind} reads numbers, but the output '{port.name}' is {port.type}; type answer=label")
    if kind == "value" and task.scale is None:
        raise UsageError(
            "answer=value needs the error that counts as wholly wrong, in the unit of the label: type scale=10"
        )
    if kind == "scores" and task.classes and port.shape[-1] not in (None, len(task.classes)):
        raise UsageError(
            f"classes names {len(task.classes)} labels, but the output '{port.name}' has {port.shape[-1]} columns"
        )
    return Reader(port.name, kind, task.threshold, task.scale or 1.0, task.classes)


def _named(task: ModelTask, outputs: Sequence[Port]) -> Port:
    for port in outputs:
        if port.name == task.output:
            return port
    raise UsageError(unknown("output", task.output, [port.name for port in outputs], f"of {task.model.name}"))


def _fitting(task: ModelTask, outputs: Sequence[Port]) -> Port:
    whole = [port for port in outputs if port.type in WHOLE and len(port.shape) <= 2]
    floats = [port for port in outputs if port.type in FLOATS]
    if task.answer == "auto" and len(whole) == 1:
        return whole[0]
    able = whole if task.answer == "label" else floats
    if len(able) == 1:
        return able[0]
    names = ", ".join(f"'{port.name}' ({port.type})" for port in outputs)
    if not able:
        reads, instead = ("labels", "scores or answer=threshold") if task.answer == "label" else ("numbers", "label")
        raise UsageError(f"answer={task.answer} reads {reads}; {task.model.name} has {names}: type answer={instead}")
    raise UsageError(
        f"{task.model.name} has {len(able)} outputs that answer={task.answer} could read, of {names}; "
        f"say which: output={able[0].name}"
    )


def _kind(port: Port) -> Literal["label", "scores"]:
    if port.type in WHOLE:
        return "label"
    if len(port.shape) < 2 or port.shape[-1] == 1:
        raise UsageError(
            f"the output '{port.name}' is one number a row, which may mean two things; type answer=threshold (with "
            "threshold=0.5 for probabilities, 0 for logits), or answer=value and scale=... for a regression"
        )
    return "scores"


def check_labels(reader: Reader, raw: Any, truth: NDArray[Any], sample: NDArray[Any], label: str) -> None:
    """Compare labels with what the model says on some rows.

    Args:
        raw: the output on the sample.
        truth: all labels.
        sample: the labels of the sample.

    Raises:
        UsageError: a label that no column of scores stands for, or not one label that the model ever says.
    """
    import numpy as np

    if reader.kind == "scores":
        columns = np.asarray(raw).reshape(len(raw), -1).shape[1]
        outside = truth[(truth < 0) | (truth >= columns)]
        if outside.size:
            raise UsageError(
                f"the column '{label}' holds {_some(outside)}, but the output '{reader.output}' has {columns} "
                f"columns, for 0 to {columns - 1}; leave those rows out, or name the columns: classes=[...]"
            )
    if reader.kind == "label":
        said = reader.answers(raw)
        if said.dtype.kind != truth.dtype.kind or not np.isin(sample, said).any():
            raise UsageError(
                f"the model answers {_some(said)}, the column '{label}' holds {_some(truth)}: none of them is ever "
                "right; write the labels as the model does"
            )


def _some(values: NDArray[Any]) -> str:
    import numpy as np

    kinds = np.unique(values).tolist()
    return ", ".join(repr(kind) for kind in kinds[:6]) + (f" and {len(kinds) - 6} more" if len(kinds) > 6 else "")
