"""A model and its rows, opened: platforms are started, held against the model run directly, and loaded in turn."""

from __future__ import annotations

import json
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from weigh.choice import Bench, Block, Blocks, Exhibit, UsageError, Values, content_digest
from weigh.data.cache import cache_folder, kept_json, replacing
from weigh.model.answers import read_outputs
from weigh.model.rows import load_rows
from weigh.model.rows_bench import shaped
from weigh.model.source import open_source
from weigh.serve.platform import Platform, PlatformTask, Running, Served
from weigh.serve.platform._direct import direct
from weigh.serve.platform._load import Generator
from weigh.serve.platform._swap import swapped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weigh.model.source import Source

    Feed = Mapping[str, NDArray[Any]]


class WrongOutput(RuntimeError):
    """A platform does not give the model's answers to within the tolerance."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A platform that runs; `seen` keeps requests a second and times in ms of each window of this process."""

    running: Running
    exact: Mapping[str, float]
    seen: dict[int, tuple[float, list[float]]]


@final
class PlatformBench(Bench):
    """All platforms stay up, and windows of load take turns; the requests of a window are drawn from its seed.

    Raises:
        UsageError: the model or its rows cannot be used, or do not belong together.
    """

    def __init__(self, task: PlatformTask, seed: int) -> None:
        self.task, self.seed = task, seed
        source = opened(task)
        self.rows = load_rows(task.data, task, source, labelled=False)
        if len(self.rows) < task.batch:
            raise UsageError(f"{task.data} has {len(self.rows)} rows, fewer than a request of batch={task.batch}")
        self.source = shaped(source, self.rows)
        self.direct = direct(self.source, task.threads, task.batch)
        self.load = Generator()
        self._folder = tempfile.TemporaryDirectory(prefix="weigh-platform-")
        self._all: list[Running] = []
        self._end = weakref.finalize(self, _close, self._all, self.load, self._folder)

    @property
    def blocks(self) -> Blocks:
        return Blocks(race=self.task.rounds, fresh=max(self.task.rounds // 2, 1))

    def prepare(self, option: Platform) -> Subject:
        served = Served(
            self.source, "weighed", self.task.threads, self.task.batch, self.task.start_seconds, self.feed(0)
        )
        home = Path(self._folder.name) / f"{len(self._all)}-{option.name}"
        home.mkdir()
        began = time.perf_counter()
        running = option.start(served, home)
        startup = getattr(running, "started", None) or time.perf_counter() - began
        self._all.append(running)
        parity = self._parity(running, option.spec)
        return Subject(running, {"parity": parity, **self._once(option, running, startup)}, {})

    def _once(self, option: Platform, running: Running, startup: float) -> dict[str, float]:
        """What is measured of one start, and kept: clocks and memory give another figure each time."""
        code = f"{type(option).__module__}:{type(option).__qualname__}"
        asked = [code, option.spec, self.source.digest, self.task.connections, self.task.batch, self.task.threads]
        kept = cache_folder() / "platforms-started" / f"{content_digest(asked)[7:39]}.json"
        if found := kept_json(kept):
            return {name: float(value) for name, value in found.items()}
        requests = self._requests(running, 0)
        self.load.run(running.url, requests, self.task.connections, count=10 * self.task.connections)
        memory = running.memory_mb()
        failed, p99 = swapped(running, self.load, requests, self.source, self.task)
        made = {"startup": startup, "memory": memory, "swap_failed": float(failed), "swap_p99": p99}
        with replacing(kept) as temporary:
            temporary.write_text(json.dumps(made))
        return made

    def _parity(self, running: Running, spec: str) -> float:
        """The greatest difference from the model run directly.

        Raises:
            WrongOutput: it is beyond the tolerance, or the answers have another shape.
        """
        import numpy as np

        count = -(-self.task.parity_rows // self.task.batch)
        feeds = [self.feed(place) for place in range(count)]
        seen = self.load.run(running.url, [running.request(one) for one in feeds], 1, count=count, keep=count)
        if len(seen.bodies) < count:
            raise WrongOutput(f"{spec} answered {len(seen.bodies)} of {count} requests with 200: {set(seen.status)}")
        mine = np.concatenate([running.answer(seen.bodies[place]) for place in range(count)])
        theirs = np.concatenate([self.direct(feed) for feed in feeds])
        if mine.shape != theirs.shape:
            raise WrongOutput(f"{spec} answered with the shape {mine.shape}; the model gives {theirs.shape}")
        gap = float(np.abs(mine - theirs).max() / max(float(np.abs(theirs).max()), 1e-12))
        if not gap <= self.task.tolerance:
            raise WrongOutput(
                f"{spec} differs from the model run directly by {gap:.3g} of the greatest answer, more than the "
                f"tolerance of {self.task.tolerance:g}; give the task another tolerance=... if that is meant"
            )
        return gap

    def feed(self, seed: int) -> Feed:
        """The rows of one request, drawn from the seed."""
        import numpy as np

        return self.rows.take(np.random.default_rng(seed).integers(len(self.rows), size=self.task.batch))

    def _requests(self, running: Running, seed: int) -> list[bytes]:
        return [running.request(self.feed(seed + place)) for place in range(self.task.payloads)]

    def trial(self, subject: Subject, block: Block) -> Values:
        task, running = self.task, subject.running
        requests = self._requests(running, block.seed)
        if task.warmup:
            self.load.run(running.url, requests, task.connections, count=task.warmup, patience=task.patience)
        seen = self.load.run(running.url, requests, task.connections, count=task.requests, patience=task.patience)
        times = seen.milliseconds().tolist()
        if not times:
            raise RuntimeError(f"none of {task.requests} requests was answered: {sorted(set(seen.status.tolist()))}")
        subject.seen[block.index] = seen.rate, times
        return {
            "throughput": [seen.rate],
            "p99": spread(times, task.samples, block.seed),
            "errors": [seen.failed / len(seen.status)],
            **subject.exact,
        }

    def exhibits(self, subjects: Mapping[str, Subject]) -> Sequence[Exhibit]:
        from weigh.serve.platform._exhibits import exhibits

        return exhibits(self.task, subjects)

    def close(self) -> None:
        """End all servers."""
        self._end()


def spread(times: Sequence[float], count: int, seed: int) -> list[float]:
    """So many of the times at even distances, from a place drawn from the seed.

    >>> spread([1.0, 2.0, 3.0, 4.0], 2, seed=0)
    [1.0, 3.0]
    """
    import random

    step = len(times) / count
    first = random.Random(seed).random() * step if seed else 0.0
    return [times[min(int(first + step * place), len(times) - 1)] for place in range(count)]


def opened(task: PlatformTask) -> Source:
    """The checked model, its first output the one that is asked for.

    Raises:
        UsageError: it cannot be used, or is a language model or an encoder.
    """
    source = open_source(task.model, task.architecture, task.trust)
    if source.kind != "classifier":
        raise UsageError(
            f"model={task.model} is a model of text, and serve/platform puts requests of rows on a server: give a "
            "model of rows; how a model of text is run is decided with serve/runtime and serve/batching"
        )
    if source.format != "onnx":
        return source
    name = read_outputs(task.model_copy(update={"scale": task.scale or 1.0}), source.outputs).output
    return replace(source, outputs=tuple(one for one in source.outputs if one.name == name))


def _close(running: list[Running], load: Generator, folder: tempfile.TemporaryDirectory[str]) -> None:
    while running:
        running.pop().close()
    load.close()
    folder.cleanup()
