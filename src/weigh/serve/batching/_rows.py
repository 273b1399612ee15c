"""Rows of several requests in one run of the model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias, final

from weigh.serve.batching import Batcher, Closed, Limits, Load, RowsModel
from weigh.serve.batching._queue import Entry, Queue

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Feed: TypeAlias = Mapping[str, NDArray[np.generic]]


@final
class _Waiting(Entry):
    __slots__ = ("arrived", "feed", "form", "future", "rows")

    def __init__(self, feed: Feed, future: asyncio.Future[dict[str, NDArray[Any]]], deadline: float | None) -> None:
        super().__init__(deadline)
        self.feed, self.future = feed, future
        self.rows, self.form = form_of(feed)
        self.arrived = time.monotonic()

    def given_up(self) -> bool:
        return self.future.done()

    def fail(self, error: Exception) -> None:
        self.future.set_exception(error)


def form_of(feed: Feed) -> tuple[int, tuple[Any, ...]]:
    """Rows of a feed, and what must be the same of two feeds that go into one run.

    Raises:
        ValueError: there are no rows, or not as many of each input.
    """
    rows = {values.shape[0] if values.ndim else 0 for values in feed.values()}
    if len(rows) != 1 or 0 in rows:
        raise ValueError(f"a request needs one row or more, as many of each input; these have {sorted(rows)}")
    return rows.pop(), tuple((name, values.dtype.str, values.shape[1:]) for name, values in feed.items())


@final
class RowsBatcher(Batcher):
    """Joins what waits while the model is busy, and for up to `delay` seconds after the oldest came.

    Args:
        most: rows of a run that are not exceeded by joining; one request alone may have more. 0: nothing is joined.
        delay: seconds.
    """

    def __init__(self, model: RowsModel, limits: Limits, most: int = 0, delay: float = 0.0) -> None:
        self._model, self._most, self._delay = model, most, delay
        self._loop = asyncio.get_running_loop()
        self._queue: Queue[_Waiting] = Queue(limits)
        self._running = 0
        self._timer: asyncio.Handle | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread = None if model.quick else ThreadPoolExecutor(1, "weigh-rows")
        self._idle = asyncio.Event()
        self._idle.set()

    async def answer(self, feed: Feed, deadline: float | None = None) -> dict[str, NDArray[Any]]:
        self._queue.admit()
        entry = _Waiting(feed, self._loop.create_future(), deadline)
        self._queue.entries.append(entry)
        self._idle.clear()
        self._wake()
        return await entry.future

    def load(self) -> Load:
        return Load(len(self._queue), self._running)

    def _wake(self) -> None:
        """Run now what is enough, or set a timer for it."""
        if self._running or not self._queue.entries:
            return
        full = not self._most or self._delay <= 0 or sum(one.rows for one in self._queue.entries) >= self._most
        if full and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._timer is not None:
            return
        left = self._queue.entries[0].arrived + self._delay - time.monotonic()
        if full or left <= 0:  # after what else arrived in this turn of the loop
            self._timer = self._loop.call_soon(self._go)
        else:
            self._timer = self._loop.call_later(left, self._go)

    def _go(self) -> None:
        self._timer = None
        if batch := self._take():
            self._running = len(batch)
            if self._thread is None:
                self._done(batch, self._outcomes(batch))
            else:
                self._task = self._loop.create_task(self._elsewhere(batch))
        elif not self._queue.entries:
            self._idle.set()

    async def _elsewhere(self, batch: list[_Waiting]) -> None:
        self._done(batch, await self._loop.run_in_executor(self._thread, self._outcomes, batch))

    def _take(self) -> list[_Waiting]:
        """The oldest request, and later ones of the same form that fit into its run."""
        first = self._queue.next()
        if first is None:
            return []
        batch, rows, left = [first], first.rows, []
        while rows < self._most and (entry := self._queue.next()) is not None:
            if entry.form == first.form and rows + entry.rows <= self._most:
                batch.append(entry)
                rows += entry.rows
            else:
                left.append(entry)
        self._queue.entries.extendleft(reversed(left))
        return batch

    def _outcomes(self, batch: list[_Waiting]) -> list[dict[str, NDArray[Any]] | Exception]:
        """One outcome a request. Where a joined run fails each is tried alone: one must not spoil another's answer."""
        start = time.perf_counter()
        try:
            made: list[dict[str, NDArray[Any]] | Exception] = [*self._run(batch)]
        except Exception as error:
            made = [error] if len(batch) == 1 else [one for entry in batch for one in self._outcomes([entry])]
        self._queue.took(time.perf_counter() - start, len(batch))
        return made

    def _run(self, batch: list[_Waiting]) -> list[dict[str, NDArray[Any]]]:
        import numpy as np

        if len(batch) == 1:
            return [dict(self._model.run(batch[0].feed))]
        joined = {name: np.concatenate([entry.feed[name] for entry in batch]) for name in batch[0].feed}
        found, rows = self._model.run(joined), sum(entry.rows for entry in batch)
        for name, values in found.items():
            if values.shape[:1] != (rows,):
                raise ValueError(f"output '{name}' has the shape {values.shape} for {rows} rows: no answer a row")
        made, start = [], 0
        for entry in batch:
            made.append({name: values[start : start + entry.rows] for name, values in found.items()})
            start += entry.rows
        return made

    def _done(self, batch: list[_Waiting], outcomes: list[dict[str, NDArray[Any]] | Exception]) -> None:
        self._running = 0
        for entry, outcome in zip(batch, outcomes, strict=True):
            if entry.future.done():
                continue
            if isinstance(outcome, Exception):
                entry.future.set_exception(outcome)
            else:
                entry.future.set_result(outcome)
        if self._queue.entries:
            self._wake()
        else:
            self._idle.set()

    async def close(self, drain: float = 0.0) -> None:
        self._queue.closed = True
        try:
            await asyncio.wait_for(self._idle.wait(), max(drain, 1e-3))
        except TimeoutError:
            self._queue.fail_all(Closed("the model was shut down before the request's turn came"))
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None and not self._task.done():
            await self._task  # a run cannot be broken off
        if self._thread is not None:
            self._thread.shutdown(wait=False)
