"""A model and its inputs, opened: runtimes are held against eager, started afresh, and timed beside one another."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, final

from weigh.choice import Bench, Block, Blocks, Exhibit, UsageError, Values
from weigh.model.answers import read_outputs
from weigh.model.artefact import Artefact, artefact
from weigh.model.rows_bench import shaped
from weigh.model.session import no_collection
from weigh.model.source import open_source
from weigh.model.task import Calibration
from weigh.serve.runtime import Runtime, RuntimeTask, Served, Setting
from weigh.serve.runtime._feeds import EXAMPLES, load_feeds
from weigh.serve.runtime._fresh import kernels, started
from weigh.serve.runtime._parity import agreement, checked
from weigh.serve.runtime.eager import Eager

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weigh.model.source import Source

    Feed = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Subject:
    """An option at work; `times` keeps the runs of each block that this process measured, in ms."""

    made: Artefact
    served: Served
    exact: Mapping[str, float]
    times: dict[int, list[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Round:
    """What all options share in one block: rows to compare on, eager's answers, and two batches to time."""

    index: int
    judged: Feed
    eager: NDArray[Any]
    timed: Feed
    great: Feed


@final
class RuntimeBench(Bench):
    """Each block draws its rows from its own seed; all options stay loaded and take turns within a round.

    Raises:
        UsageError: the model or its inputs cannot be used, or do not belong together.
    """

    def __init__(self, task: RuntimeTask, seed: int) -> None:
        self.task, self.seed = task, seed
        source = opened(task)
        self.rows = load_feeds(task, source)
        self.source = shaped(source, self.rows)
        tokens = self.rows.feeds["input_ids"].shape[1] if self.source.kind != "classifier" else 0
        self.setting = Setting(task.threads, self._sizes(), tokens)
        self._first = replace(self.setting, rows=(task.batch,))
        self.calibration = Calibration(self.rows.take(_places(self.source.batch or EXAMPLES)), self.source.batch)
        self.eager = Eager().open(self.source.path, self.source, self.setting)
        self.allowed = task.allowed(self.source.kind)
        self._round: Round | None = None
        self._all: list[Served] = [self.eager]

    def _sizes(self) -> tuple[int, ...]:
        only = self.source.batch
        if only is None:
            return self.task.sizes
        if self.task.batch != only:
            raise UsageError(
                f"the model takes exactly {only} rows at a time, but batch={self.task.batch}; type batch={only}, or "
                "export it with a free first dimension"
            )
        return (only,)

    @property
    def blocks(self) -> Blocks:
        return Blocks(race=self.task.rounds, fresh=max(self.task.rounds // 2, 1))

    def prepare(self, option: Runtime) -> Subject:
        made = artefact(option, self.source, self.calibration)
        first = self.feed(self.task.batch, 0)
        seconds, megabytes = started(option, made, self.source, self._first, first, self.task.starts)
        served = self._open(option, made)
        exact = {
            "parity": self._parity(served, option.spec), "startup": seconds, "memory": megabytes,
            "size": made.megabytes,
        }  # fmt: skip
        return Subject(made, served, exact)

    def _open(self, option: Runtime, made: Artefact) -> Served:
        if option == Eager():
            return self.eager
        with kernels(option, made):
            served = option.open(made.path, self.source, self.setting)
        self._all.append(served)
        return served

    def _parity(self, served: Served, spec: str) -> float:
        """The gap on the parity rows, the same for all options.

        Raises:
            WrongOutput: it is beyond the tolerance.
        """
        import numpy as np

        size = self.setting.rows[-1]
        feeds = [self.feed(size, place) for place in range(-(-self.task.parity_rows // size))]
        mine, theirs = (np.concatenate([one.answer(feed) for feed in feeds]) for one in (served, self.eager))
        return checked(mine, theirs, self.source, self.allowed, spec)

    def feed(self, rows: int, seed: int) -> Feed:
        """Some rows, drawn from the seed."""
        import numpy as np

        return self.rows.take(np.random.default_rng(seed).integers(len(self.rows), size=rows))

    def trial(self, subject: Subject, block: Block) -> Values:
        shared = self._shared(block)
        mine = self.answers(subject.served, shared.judged)
        times = self.times(subject.served, shared.timed, self.task.runs)
        subject.times[block.index] = times
        great = self.times(subject.served, shared.great, 1)[0]
        units = next(iter(shared.great.values())).size if self.source.kind == "language" else self.setting.rows[-1]
        return {
            "latency": [statistics.median(times)],
            "p95": times[-1:],
            "throughput": [1e3 * units / great],
            "agreement": agreement(mine, shared.eager, self.source, self.allowed),
            **subject.exact,
        }

    def answers(self, served: Served, feed: Feed) -> NDArray[Any]:
        """Answers of any number of rows, by runs of the batch that is served."""
        import numpy as np

        count, size = len(next(iter(feed.values()))), self.task.batch
        places = [np.minimum(np.arange(start, start + size), count - 1) for start in range(0, count, size)]
        parts = [served.answer({name: values[place] for name, values in feed.items()}) for place in places]
        return np.concatenate(parts)[:count]

    def times(self, served: Served, feed: Feed, runs: int) -> list[float]:
        """Milliseconds of each of `runs` runs, one after another, after the warm-up."""
        clock, taken = time.perf_counter_ns, []
        with no_collection():
            for _ in range(self.task.warmup + runs):
                start = clock()
                served.run(feed)
                taken.append((clock() - start) / 1e6)
        return taken[self.task.warmup :]

    def _shared(self, block: Block) -> Round:
        if self._round is None or self._round.index != block.index:
            judged = self.feed(self.task.judged, block.seed)
            eager = self.answers(self.eager, judged)
            timed, great = (self.feed(size, block.seed + 1) for size in (self.task.batch, self.setting.rows[-1]))
            self._round = Round(block.index, judged, eager, timed, great)
        return self._round

    def exhibits(self, subjects: Mapping[str, Subject]) -> Sequence[Exhibit]:
        from weigh.serve.runtime._exhibits import exhibits

        return exhibits(self, subjects)

    def close(self) -> None:
        """End what options started beside this process."""
        while self._all:
            self._all.pop().close()


def opened(task: RuntimeTask) -> Source:
    """The checked model, its first output the one that is asked for."""
    source = open_source(task.model, task.architecture, task.trust)
    if source.format != "onnx":
        return source
    name = read_outputs(task.model_copy(update={"scale": task.scale or 1.0}), source.outputs).output
    return replace(source, outputs=tuple(one for one in source.outputs if one.name == name))


def _places(count: int) -> NDArray[Any]:
    import numpy as np

    return np.arange(count)
