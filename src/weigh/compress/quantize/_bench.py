"""A quantization task, opened: rows are split and shuffled, models answer and are timed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from weigh.choice import Bench, Block, Blocks, Exhibit, UsageError, Values
from weigh.compress.quantize import Calibration, Quantizer, QuantizeTask
from weigh.compress.quantize._answers import check_labels, read_outputs
from weigh.compress.quantize._artefact import artefact, megabytes
from weigh.compress.quantize._model import open_model
from weigh.compress.quantize._rows import Rows, load_rows, whole
from weigh.compress.quantize._session import Session

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FEWEST = 50
SAMPLE = 1000
APART = 4


@dataclass(frozen=True, slots=True)
class Subject:
    """One artefact; `times` keeps the runs of each block that this process measured, in ms."""

    path: Path
    size: float
    times: dict[int, list[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Round:
    """What all options share in one block: rows to judge on, rows to time with, and what the original says."""

    index: int
    feed: Mapping[str, NDArray[Any]]
    truth: NDArray[Any]
    original: NDArray[Any]
    timed: Mapping[str, NDArray[Any]]


@final
class QuantizeBench(Bench):
    """Rows for calibration are the same in every run (so an artefact depends on the task alone); the others come in an
    order drawn from the seed, each row once: those of the race first, then those held back for the confirmation.

    Each trial loads its artefact anew. Where a session's buffers happen to lie moves its times by a percent or two for
    as long as it lives, which makes one of two equal models look faster; drawn anew in each round, that is noise like
    any other.

    Raises:
        UsageError: the model or the rows cannot be used, or do not belong together.
    """

    def __init__(self, task: QuantizeTask, seed: int) -> None:
        import numpy as np

        self.task = task
        self.model = open_model(task.model)
        self.reader = read_outputs(task, self.model.outputs)
        if self.model.batch not in (None, task.batch):
            raise UsageError(
                f"the model takes exactly {self.model.batch} rows at a time, but batch={task.batch}; "
                f"type batch={self.model.batch}, or export it with a free first dimension"
            )
        rows = load_rows(task.data, task, self.model)
        assert rows.labels is not None
        labels = self.reader.truth(rows.labels if self.reader.kind == "value" else whole(rows.labels), task.label)
        self.calibration, places = self._apart(rows)
        self.rows, self.truth = Rows(rows.take(places), None), labels[places]
        self.original = Session(self.model.path, self.reader.output, task.threads, self.model.batch)
        self._try()
        self._order = np.random.default_rng(seed).permutation(len(places))
        self._cuts, self._blocks = _cuts(len(places), task)
        self._round: Round | None = None

    def _apart(self, rows: Rows) -> tuple[Calibration, NDArray[np.intp]]:
        """The calibration rows, and the places of the rows that are left to judge on."""
        import numpy as np

        wanted, apart = self.task.calibration_rows, self.task.calibration is not None
        source = (
            load_rows(self.task.calibration, self.task, self.model, labelled=False) if self.task.calibration else rows
        )
        mixed = np.random.default_rng(0).permutation(len(source))
        chosen = np.sort(mixed[: min(wanted, len(source))])
        left = np.arange(len(rows)) if apart else np.sort(mixed[wanted:])
        if len(left) < FEWEST:
            raise UsageError(
                f"{self.task.data} has {len(rows)} rows; {0 if apart else wanted} of them for calibration leave "
                f"{len(left)} to judge on, and {FEWEST} are the fewest: give more rows"
                + ("" if apart or len(rows) < 2 * FEWEST else f", or calibration_rows={len(rows) // 10}")
            )
        if len(source) < (self.model.batch or 1):
            raise UsageError(
                f"{len(source)} calibration rows do not fill one batch of {self.model.batch}; give more rows"
            )
        return Calibration(source.take(chosen), self.model.batch), left

    def _try(self) -> None:
        """Run the original once, so that rows which do not fit it are found before the race."""
        import numpy as np
        from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

        some = np.arange(min(SAMPLE, len(self.rows)))
        try:
            raw = self.original.answer(self.rows.take(some))
        except (InvalidArgument, Fail, RuntimeException) as error:
            raise UsageError(
                f"{self.task.model} cannot run on rows of {self.task.data}: {str(error).splitlines()[0]}"
            ) from None
        if not hasattr(raw, "shape") or len(raw) != len(some):
            raise UsageError(
                f"the output '{self.reader.output}' does not give one answer a row: {len(raw)} for {len(some)} rows; "
                "name another: output=..."
            )
        check_labels(self.reader, raw, self.truth, self.truth[some], self.task.label)

    @property
    def blocks(self) -> Blocks:
        return self._blocks

    def prepare(self, option: Quantizer) -> Subject:
        path = artefact(option, self.model, self.calibration)
        self.load(path)
        return Subject(path, megabytes(path))

    def load(self, path: Path) -> Session:
        """A fresh session."""
        return Session(path, self.reader.output, self.task.threads, self.model.batch)

    def trial(self, subject: Subject, block: Block) -> Values:
        shared, session = self._shared(block), self.load(subject.path)
        answers = self.reader.answers(session.answer(shared.feed))
        times = session.times(shared.timed, self.task.warmup, self.task.runs)
        subject.times[block.index] = times
        return {
            "latency": [statistics.median(times)],
            "p95": times[::APART],
            "accuracy": self.reader.match(answers, shared.truth).tolist(),
            "agreement": self.reader.match(answers, shared.original).tolist(),
            "size": subject.size,
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
        from weigh.compress.quantize._exhibits import exhibits

        return exhibits(self, subjects)


def _cuts(rows: int, task: QuantizeTask) -> tuple[NDArray[np.intp], Blocks]:
    """Where each block's rows begin in the shuffled order, and how many blocks there are."""
    import numpy as np

    held = round(rows * task.held_back)
    race = min(task.rounds, rows - held)
    fresh = min(held, max(20, race // 4))
    first = np.linspace(0, rows - held, race + 1).round().astype(np.intp)
    last = np.linspace(rows - held, rows, fresh + 1).round().astype(np.intp)[1:]
    return np.concatenate([first, last]), Blocks(race=race, fresh=fresh, population=rows)
