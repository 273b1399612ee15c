"""A model and labelled rows, opened: rows are split and shuffled, models answer and are timed."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from weigh.choice import Bench, Block, Blocks, Exhibit, UsageError, Values
from weigh.model.answers import check_labels, reader_of
from weigh.model.artefact import Artefact, artefact, unchanged
from weigh.model.memory import peak_mb
from weigh.model.module import load_module
from weigh.model.probe import Probe
from weigh.model.rows import Rows, load_rows, whole
from weigh.model.runner import ModuleRunner, open_runner
from weigh.model.session import Session, load_errors
from weigh.model.source import Source, embeds, format_of, open_source, reason
from weigh.model.split import cut_rows, split_rows
from weigh.model.task import Converter, ModelTask, Wrapper
from weigh.model.texts import load_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weigh.model.answers import Reader

    Extras = Callable[[Any, Artefact], Values]

SAMPLE = 200


@dataclass(frozen=True, slots=True)
class Subject:
    """One artefact; `times` keeps the runs of each block that this process measured, in ms."""

    made: Artefact
    exact: Values
    times: dict[int, list[float]] = field(default_factory=dict)
    runner: ModuleRunner | None = None
    """What runs it, where that is not told by the artefact alone."""


@dataclass(frozen=True, slots=True)
class Round:
    """What all options share in one block: rows to judge on, rows to time with, and what the original says."""

    index: int
    feed: Mapping[str, NDArray[Any]]
    truth: NDArray[Any]
    original: NDArray[Any]
    timed: Mapping[str, NDArray[Any]]


@final
class RowsBench(Bench):
    """Rows for calibration are the same in every run (so an artefact depends on the task alone); the others come in an
    order drawn from the seed, each row once: those of the race first, then those held back for the confirmation.

    Each trial loads its artefact anew. Where a session's buffers happen to lie moves its times by a percent or two for
    as long as it lives, which makes one of two equal models look faster; drawn anew in each round, that is noise like
    any other.

    A pair of times is a pair of rounds: within a round the runs of one option follow one another, and options take
    turns in random order. Turns after every run would pair no better: each model then finds its weights evicted from
    the caches by the others, which is not how it will serve, and ratios of equal models spread wider.

    Raises:
        UsageError: the model or the rows cannot be used, or do not belong together.
    """

    def __init__(self, task: ModelTask, seed: int, extras: Extras | None = None) -> None:
        import numpy as np

        self.task, self._extras = task, extras
        self.model = open_source(task.model, task.architecture, task.trust)
        self._runners: dict[Path, ModuleRunner] = {}
        self._fresh: dict[Path, Callable[[], Session | ModuleRunner]] = {}
        self.reader: Reader | Probe = reader_of(task, self.model)
        if self.model.batch not in (None, task.batch):
            raise UsageError(
                f"the model takes exactly {self.model.batch} rows at a time, but batch={task.batch}; "
                f"type batch={self.model.batch}, or export it with a free first dimension"
            )
        rows = load_texts(task, self.model) if self.model.kind == "encoder" else load_rows(task.data, task, self.model)
        assert rows.labels is not None
        self.model = shaped(self.model, rows)
        labels = self.reader.truth(rows.labels if self.reader.kind == "value" else whole(rows.labels), task.label)
        self.split = split_rows(task, self.model, rows)
        self.rows, self.truth = Rows(rows.take(self.split.judged), None), labels[self.split.judged]
        self.original = self.load(self.model.path)
        if isinstance(self.reader, Probe):
            self.reader = self.reader.fitted(self.original, self.split.calibration)
        self._try()
        self._order = np.random.default_rng(seed).permutation(len(self.rows))
        self._cuts, self._blocks = cut_rows(len(self.rows), task)
        self._round: Round | None = None

    def _try(self) -> None:
        """Run the original once, so that rows which do not fit it are found before the race."""
        import numpy as np

        some = np.arange(min(SAMPLE, len(self.rows)))
        try:
            raw = self._first_answers(self.rows.take(some))
        except UsageError:  # a ValueError too, which says all
            raise
        except load_errors() as error:
            raise UsageError(f"{self.task.model} cannot run on rows of {self.task.data}: {reason(error)}") from None
        except ValueError as error:
            raise UsageError(f"{error}; name another: output=...") from None
        if not isinstance(self.reader, Probe):
            check_labels(self.reader, raw, self.truth, self.truth[some], self.task.label)

    def _first_answers(self, feed: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """What the original says of some rows; a net of torch raises whatever it likes for rows that do not fit it."""
        if self.model.format not in ("module", "exported"):
            return self.original.answer(feed)
        try:
            return self.original.answer(feed)
        except Exception as error:
            shape = next(iter(feed.values())).shape[1:]
            numbers = f"{' x '.join(map(str, shape))} numbers" if shape else "one number"
            raise UsageError(
                f"the net of model={self.task.model} does not take rows of {numbers}, as {self.task.data} has them "
                f"({type(error).__name__}: {reason(error)}); give it those that it was trained on"
            ) from None

    @property
    def blocks(self) -> Blocks:
        return self._blocks

    def prepare(self, option: Converter | Wrapper) -> Subject:
        if isinstance(option, Wrapper):
            module = option.wrap(load_module(self.model))
            own = ModuleRunner(module, embeds(self.model), self.task.threads, self.task.batch)
            return Subject(unchanged(self.model), {}, runner=own)
        made = artefact(option, self.model, self.split.calibration)
        self.load(made.path)
        exact = {
            "memory": peak_mb(made, self.model, self.task, self.rows.take(_first(self.task.batch))),
            "size": made.megabytes,
        }
        runner = self._runners.get(made.path)
        more = self._extras(runner.module if runner else None, made) if self._extras else {}
        return Subject(made, {**exact, **more})

    def session(self, subject: Subject) -> Session | ModuleRunner:
        """What answers and is timed for an option, drawn anew as `load` does."""
        return subject.runner.fresh() if subject.runner else self.load(subject.made.path)

    def load(self, path: Path) -> Session | ModuleRunner:
        """A fresh session of an ONNX file; a torch module as it is, or at another place in memory if it is small."""
        if path not in self._fresh:
            self._fresh[path] = self._opener(path)
        return self._fresh[path]()

    def _opener(self, path: Path) -> Callable[[], Session | ModuleRunner]:
        threads, batch = self.task.threads, self.task.batch
        if (self.model.format if path == self.model.path else format_of(path)) == "onnx":
            return partial(Session, path, self.reader.output, threads, batch, self.model.batch is not None)
        self._runners[path] = open_runner(path, self.model, threads, batch)
        return self._runners[path].fresh

    def trial(self, subject: Subject, block: Block) -> Values:
        shared, session = self._shared(block), self.session(subject)
        own = subject.made.path is self.model.path and subject.runner is None
        answers = shared.original if own else self.reader.answers(session.answer(shared.feed))
        times = session.times(shared.timed, self.task.warmup, self.task.runs)
        subject.times[block.index] = times
        return {
            "latency": [statistics.median(times)],
            "p95": times[-1:],
            "accuracy": self.reader.match(answers, shared.truth).tolist(),
            "agreement": self.reader.match(answers, shared.original).tolist(),
            **subject.exact,
        }

    def _shared(self, block: Block) -> Round:
        if self._round is None or self._round.index != block.index:
            import numpy as np

            places = self._order[self._cuts[block.index] : self._cuts[block.index + 1]]
            feed = self.rows.take(places)
            timed = np.random.default_rng(block.seed).integers(len(self.rows), size=self.task.batch)
            original = self.reader.answers(self.original.answer(feed))
            self._round = Round(block.index, feed, self.truth[places], original, self.rows.take(timed))
        return self._round

    def exhibits(self, subjects: Mapping[str, Subject]) -> Sequence[Exhibit]:
        from weigh.model.exhibits import exhibits

        return exhibits(self, subjects)


def shaped(model: Source, rows: Rows) -> Source:
    """The model, with the shape of its rows where it does not say it itself."""
    if model.format != "module":
        return model
    ports = (replace(port, shape=(None, *rows.feeds[port.name].shape[1:])) for port in model.inputs)
    return replace(model, inputs=tuple(ports))


def _first(count: int) -> NDArray[Any]:
    """The places of the first rows."""
    import numpy as np

    return np.arange(count)
