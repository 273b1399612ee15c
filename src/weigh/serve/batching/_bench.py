"""A batching task, opened: the model is loaded, arrivals are replayed to each option as its server would meet them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

from weigh.choice import Bench, Block, Blocks, Exhibit, Unfit, UsageError, Values
from weigh.model.session import no_collection
from weigh.serve.batching import Batching, BatchingTask, LanguageModel, Limits, RowsModel
from weigh.serve.batching._replay import Outcome, replayed
from weigh.serve.batching._requests import Requests

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weigh.model.source import Source
    from weigh.serve.batching._requests import Feed

QUICK, TIMED = 0.0003, 5
"""A run of one row that takes at most so many seconds stays on the event loop; the fastest of so many runs counts."""
ALIKE, JOINED = 1e-3, 8
"""Greatest difference, of the greatest answer, that company may make to a row's answer; rows that are tried."""
ALL = 1 << 30


@dataclass(frozen=True, slots=True)
class Subject:
    """An option, ready; `memory` in bytes; `outcomes` of the replays that this process measured."""

    option: Batching
    memory: int
    outcomes: list[Outcome] = field(default_factory=list)


@final
class BatchingBench(Bench):
    """A block is a replay: requests and their times are drawn from its seed, the same for all options.

    Raises:
        UsageError: the model cannot be used, or the requests do not fit it.
    """

    def __init__(self, task: BatchingTask, seed: int) -> None:
        from weigh.model.source import open_source

        self.task = task
        self.source = open_source(task.model, task.architecture, task.trust)
        if self.source.format == "gguf":
            raise UsageError(
                f"model={task.model} is a GGUF: llama.cpp batches it in one way alone, so that there is nothing to "
                "choose; give the Hugging Face folder that it was made of"
            )
        self.requests = Requests(task, self.source)
        self.model = self._language() if self.source.kind == "language" else _rows_model(task, self.source)
        self.limits = Limits(waiting=task.waiting)
        if not isinstance(self.model, LanguageModel):
            self.model.quick = self._takes() <= QUICK

    def _language(self) -> LanguageModel:
        from weigh.model.module import load_module

        longest = max(map(len, self.requests.prompts))
        return LanguageModel(load_module(self.source), frozenset(), longest + self.task.new_tokens, self.task.threads)

    def _takes(self) -> float:
        """Seconds of a run of one row.

        Raises:
            UsageError: the rows do not fit the model.
        """
        from weigh.model.session import load_errors
        from weigh.model.source import reason

        feed, taken = self._feed(1), []
        errors: tuple[type[Exception], ...] = (RuntimeError, ValueError, *load_errors())
        for _ in range(TIMED):
            start = time.perf_counter()
            try:
                self._rows().run(feed)
            except errors as error:
                raise UsageError(f"{self.task.model} cannot run on rows of {self.task.data}: {reason(error)}") from None
            taken.append(time.perf_counter() - start)
        return min(taken)

    def _rows(self) -> RowsModel:
        assert not isinstance(self.model, LanguageModel)
        return self.model

    def _feed(self, rows: int) -> Feed:
        import numpy as np

        return self.requests.feed(np.random.default_rng(0), rows)

    @property
    def blocks(self) -> Blocks:
        return Blocks(race=self.task.rounds, fresh=max(self.task.rounds // 2, 1))

    def prepare(self, option: Batching) -> Subject:
        if not isinstance(self.model, LanguageModel) and option.at_once() > 1:
            self._need_alike(self.model, option)
        subject = Subject(option, self._memory(option))
        self.replay(option, 0, 1.0, max(2, self.task.requests // 4))  # nothing is compiled or loaded later
        return subject

    def _need_alike(self, model: RowsModel, option: Batching) -> None:
        """Raises `Unfit` when rows get other answers in company."""
        import numpy as np

        feed = self._feed(min(JOINED, option.at_once()))
        rows = len(next(iter(feed.values())))
        together = model.run(feed)["answer"]
        alone = np.concatenate(
            [
                model.run({name: values[place : place + 1] for name, values in feed.items()})["answer"]
                for place in range(rows)
            ]
        )
        gap = float(np.abs(together - alone).max() / max(float(np.abs(alone).max()), 1e-9))
        if not gap <= ALIKE:
            raise Unfit(
                f"rows get other answers in company than alone, by {gap:.2g} of the greatest (a model in 8 bits whose "
                "scales are found as it runs does so): serve it with single"
            )

    def _memory(self, option: Batching) -> int:
        most = option.at_once()
        if isinstance(self.model, LanguageModel):
            import torch

            from weigh.serve.batching._slots import Rows

            length = self.model.context
            with torch.inference_mode():
                rows = Rows(self.model.module)
                rows.kept.reserve(max(1, min(most, self.limits.tokens // length)), length)
                rows.read(0, [[1]], [0])
                return rows.kept.bytes()
        feed, model = self._feed(most), self.model
        if self.source.format == "onnx":
            return sum(values.nbytes for values in (*feed.values(), *model.run(feed).values()))
        from weigh.serve._memory import peak_memory

        model.run(feed)
        return peak_memory(lambda: model.run(feed))

    def trial(self, subject: Subject, block: Block) -> Values:
        found = self.replay(subject.option, block.seed, 1.0, self.task.requests)
        subject.outcomes.extend(found)
        return self._measured(found) | {"memory": subject.memory / 1e6}

    def replay(self, option: Batching, seed: int, times: float, count: int) -> list[Outcome]:
        """Requests at a multiple of the task's rate, as the option answers them."""
        requests = self.requests.drawn(seed, self.task.rate * times, count)
        with no_collection():
            return asyncio.run(replayed(option, self.model, self.limits, requests, self.task.slo_ms / 1e3))

    def _measured(self, found: Sequence[Outcome]) -> dict[str, list[float]]:
        import numpy as np

        task, end = self.task, max(one.arrival + one.latency for one in found)
        units = sum(one.size for one in found if one.answered)
        values = {
            "goodput": self.goodput(found, 1.0),
            "p99": _p99([one.latency for one in found]),
            "throughput": max(units, 0.5) / end,
        }
        if isinstance(self.model, LanguageModel):
            values["ttft"] = _p99([one.first for one in found])
        assert all(np.isfinite(value) and value > 0 for value in values.values()), f"{task.model}: {values}"
        return {name: [value] for name, value in values.items()}

    def goodput(self, found: Sequence[Outcome], times: float) -> float:
        """Requests a second that were answered within the SLO."""
        within = sum(one.answered and one.latency * 1e3 <= self.task.slo_ms for one in found)
        return max(within, 0.5) / (len(found) / (self.task.rate * times))

    def exhibits(self, subjects: Mapping[str, Subject]) -> Sequence[Exhibit]:
        from weigh.serve.batching._exhibits import exhibits

        return exhibits(self, subjects)


def _p99(seconds: Sequence[float]) -> float:
    """The 99th percentile, ms: the least value that 99 % do not exceed."""
    import numpy as np

    return float(np.quantile(seconds, 0.99, method="inverted_cdf")) * 1e3


class _Answering:
    """What answers rows elsewhere in weigh, as a `RowsModel`."""

    def __init__(self, runner: Any) -> None:
        self._runner, self.quick = runner, False

    def run(self, feed: Feed) -> Mapping[str, NDArray[Any]]:
        return {"answer": self._runner.answer(feed)}


def _rows_model(task: BatchingTask, source: Source) -> _Answering:
    if source.format == "onnx":
        from weigh.model.session import Session

        return _Answering(
            Session(source.path, source.outputs[0].name, task.threads, source.batch or ALL, source.batch is not None)
        )
    from weigh.model.runner import open_runner

    return _Answering(open_runner(source.path, source, task.threads, source.batch or ALL))
