"""What is measured of a model, by what comes out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weigh.choice import Measure

if TYPE_CHECKING:
    from pathlib import Path

    from weigh.model.source import Kind
    from weigh.model.task import ModelTask

_ROUNDS = "what disturbs a busy machine for longer than a round makes neighbouring rounds alike"
TOKEN = "; of a language model: of one written token, with a cache of keys and values"

LATENCY = Measure(
    name="latency",
    unit="ms",
    better="lower",
    kind="time",
    meaning="median of the runs of one round; in every round all options take turns, in random order, in one "
    f"process, on the same rows{TOKEN}",
    tolerance=0.05,
)
P95 = Measure(
    name="p95",
    unit="ms",
    better="lower",
    kind="quantile",
    q=0.95,
    meaning="time that 95 % of single runs (of a language model: of written tokens) stay under on this machine; one a "
    "round counts, as those of a round share what disturbs them, so that a limit on it takes 150 rounds or more to "
    "certify",
    tolerance=0.05,
    caveat=_ROUNDS,
)
SPEED = Measure(
    name="tokens_per_second",
    unit="tokens/s",
    better="higher",
    kind="time",
    meaning="tokens written a second of a whole request, the reading of its prompt included",
    tolerance=0.05,
)
ACCURACY = Measure(
    name="accuracy",
    unit="share",
    better="higher",
    kind="mean",
    finite=True,
    meaning="share of validation rows answered rightly; for numbers, 1 - error / scale, and at least 0; of a language "
    "model: share of a text's tokens that it foretells",
)
AGREEMENT = Measure(
    name="agreement",
    unit="share",
    better="higher",
    kind="mean",
    finite=True,
    meaning="share of validation rows (of a language model: of tokens) answered as the original model does; for "
    "numbers, 1 - difference / scale",
)
DROP = Measure(
    name="drop",
    unit="nats a token",
    better="lower",
    kind="mean",
    low=-0.2,
    high=0.2,
    finite=True,
    meaning="log-likelihood a token that is lost against the original model, the mean over one window of text; beyond "
    "`clip` it counts as `clip`, so that the mean of a badly damaged model is understated",
)
MEMORY = Measure(
    name="memory",
    unit="MB",
    better="lower",
    kind="exact",
    meaning="peak resident memory of a fresh process that loads the artefact and serves one request, measured once; "
    "its libraries are part of it",
)
SIZE = Measure(
    name="size",
    unit="MB",
    better="lower",
    kind="exact",
    meaning="bytes of the artefact's files that hold weights / 1,000,000",
)
ALL = (LATENCY, P95, SPEED, ACCURACY, AGREEMENT, DROP, MEMORY, SIZE)
ROWS = (LATENCY, P95, ACCURACY, AGREEMENT, MEMORY, SIZE)


def suiting(task: ModelTask, extra: tuple[Measure, ...] = ()) -> tuple[Measure, ...]:
    """The measures that apply to a task's model, in the order of `ALL`, then `extra`."""
    language = kind_of(task) == "language"
    size = SIZE.model_copy(update={"tolerance": _HEADER * _megabytes(task)})
    drop = DROP.model_copy(update={"low": -task.clip, "high": task.clip})
    own = {"size": size, "drop": drop}
    return (*(own.get(one.name, one) for one in (ALL if language else ROWS)), *extra)


_HEADER = 0.002
"""The part of a model's size that its files' headers may differ by, whatever numbers they hold."""


def _megabytes(task: ModelTask) -> float:
    """Of the model's own weights."""
    from weigh.model.registry import located

    path = located(task.model)
    files = path.glob("*.safetensors") if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files) / 1e6


def kind_of(task: ModelTask) -> Kind:
    """What comes out of a task's model, as far as its name and config say."""
    return kind_at(task.model)


def kind_at(model: Path) -> Kind:
    """What comes out of a model, as far as its name and config say."""
    from weigh.model.huggingface import kind_of as of_config
    from weigh.model.huggingface import read_json
    from weigh.model.registry import located
    from weigh.model.source import format_of

    path = located(model)
    form = format_of(path)
    if form == "gguf":
        return "language"
    return of_config(read_json(path / "config.json"), path)[0] if form == "huggingface" else "classifier"
