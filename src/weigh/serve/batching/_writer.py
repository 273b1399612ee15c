"""Requests to a model that writes: they wait, are written together in a thread, and are read token by token."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import final

from weigh.serve.batching import Batcher, Closed, LanguageModel, Late, Limits, Load, Sampling, Stream, Token
from weigh.serve.batching._queue import Entry, Queue
from weigh.serve.batching._slots import Slots, Text, need_sound

CHUNK = 512


@final
class _Asked(Entry):
    """One request. What the thread makes of it is handed over on the event loop."""

    def __init__(self, text: Text, deadline: float | None, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(deadline)
        self.text, self.arrived = text, time.monotonic()
        self._loop = loop
        self._made: deque[Token | Exception] = deque()
        self._more: asyncio.Future[None] | None = None
        self.left = False

    def given_up(self) -> bool:
        return self.left

    def fail(self, error: Exception) -> None:
        self._loop.call_soon_threadsafe(self.hand, error)

    def hand(self, made: Token | Exception) -> None:
        """On the loop: the next token, or why there is none."""
        self._made.append(made)
        if self._more is not None and not self._more.done():
            self._more.set_result(None)

    async def next(self) -> Token | Exception:
        """On the loop: what was made next."""
        while not self._made:
            self._more = self._loop.create_future()
            await self._more
        return self._made.popleft()


@final
class _Tokens(Stream):
    """What the reader of an answer holds; when it is closed, cancelled or forgotten no more is written."""

    def __init__(self, asked: _Asked) -> None:
        self._asked = asked
        self._over = False

    async def __anext__(self) -> Token:
        if self._over:
            raise StopAsyncIteration
        try:
            made = await self._asked.next()
        except asyncio.CancelledError:
            await self.aclose()
            raise
        if isinstance(made, Exception):
            self._over = True
            raise made
        self._over = bool(made.end)
        return made

    async def aclose(self) -> None:
        self._over = self._asked.left = True

    def __del__(self) -> None:
        self._asked.left = True


@final
class Writer(Batcher):
    """Continuous batching; with one slot one text at a time, and with `static` in batches that begin and end together.

    Args:
        slots: texts at once.
        chunk: tokens of prompts that are read between two tokens of the others.
        static: a batch begins when the one before has ended, with what waits then.
        delay: seconds that the first request of such a batch waits for company.

    Raises:
        Unfit: the model cannot write several texts at once.
    """

    def __init__(
        self, model: LanguageModel, limits: Limits, slots: int, chunk: int = CHUNK, static: bool = False,
        delay: float = 0.0,
    ) -> None:  # fmt: skip
        self._model, self._limits, self._most = model, limits, slots
        self._static, self._delay = static, delay
        self._loop = asyncio.get_running_loop()
        self._queue: Queue[_Asked] = Queue(limits)
        self._slots, self._chunk = Slots(model, static), chunk
        self._batch: deque[_Asked] = deque()
        self._running: dict[Text, _Asked] = {}
        self._wake = threading.Condition()
        self._stop = False
        begun: Future[None] = Future()
        self._thread = threading.Thread(target=self._work, args=(begun,), name="weigh-writer", daemon=True)
        self._thread.start()
        begun.result()

    def write(self, prompt: Sequence[int], sampling: Sampling, deadline: float | None = None) -> Stream:
        text = Text(prompt, sampling)
        if not prompt or sampling.max_tokens < 1 or text.most > self._model.context:
            raise ValueError(
                f"a prompt of {len(prompt)} tokens and {sampling.max_tokens} to write do not fit: both must be 1 or "
                f"more, and together {self._model.context} at most"
            )
        asked = _Asked(text, deadline, self._loop)
        with self._wake:
            self._queue.admit()
            self._queue.entries.append(asked)
            self._wake.notify()
        return _Tokens(asked)

    def load(self) -> Load:
        return Load(len(self._queue) + len(self._batch), len(self._running))

    def _work(self, begun: Future[None]) -> None:
        """The thread: admit, read, write and hand over, until it is told to stop.

        The model is tried here too: each thread that computes has helpers of its own, which disturb one another where
        they are more than the cores.
        """
        import torch

        torch.set_num_threads(self._model.threads)
        with torch.inference_mode():
            try:
                need_sound(self._model)
            except Exception as error:
                begun.set_exception(error)
                return
            begun.set_result(None)
            while self._ready():
                try:
                    self._turn()
                except Exception as error:  # whatever a model raises ends these answers, not the service
                    self._fail(error)

    def _ready(self) -> bool:
        """Wait until there is something to do; False: stop."""
        with self._wake:
            while not (self._stop or self._queue.entries or self._batch or self._slots.busy):
                self._slots.clear()
                self._wake.wait()
            return not self._stop

    def _turn(self) -> None:
        """As much of the prompts as may be read at a time, and then a token of each text."""
        self._leave()
        self._enter()
        if self._slots.reading:
            self._hand(self._slots.read(self._chunk))
        if self._slots.texts and not (self._static and self._slots.reading):
            self._hand(self._slots.write())

    def _leave(self) -> None:
        """Texts that nobody reads any more, or that are late, are written no further."""
        now = time.monotonic()
        for text, asked in list(self._running.items()):
            late = asked.deadline is not None and asked.deadline <= now
            if late:
                asked.fail(Late("the deadline passed while the answer was written"))
            if late or asked.left:
                del self._running[text]
                self._slots.drop(text)

    def _enter(self) -> None:
        """Begin what waits, where there is room for it, and no more of it than can be read now."""
        if self._static and not self._slots.busy:
            self._gather()
        with self._wake:
            while not self._static and self._slots.busy + len(self._batch) < self._most:
                waiting = [asked.text for asked in self._batch]
                unread = self._slots.unread() + sum(len(text.prompt) for text in waiting)
                longest = max(self._slots.longest(), *(text.most for text in waiting), 0)
                if unread >= self._chunk or not self._take(self._slots.busy + len(waiting), longest):
                    break
        while self._batch:
            asked = self._batch.popleft()
            if asked.wanted():
                self._running[asked.text] = asked
                self._slots.reading.append(asked.text)

    def _gather(self) -> None:
        """A static batch: what waits, and what comes while the first may wait for company."""
        with self._wake:
            if not self._queue.entries:
                return
            until = self._queue.entries[0].arrived + self._delay
            while (left := until - time.monotonic()) > 0 and len(self._queue) < self._most and not self._stop:
                self._wake.wait(left)
            longest = 0
            while len(self._batch) < self._most and self._take(len(self._batch), longest):
                longest = max(asked.text.most for asked in self._batch)

    def _take(self, rows: int, longest: int) -> bool:
        """Move the oldest request into the batch, if there is one and keys and values of all have room."""
        asked = self._queue.next()
        if asked is None:
            return False
        if rows and (rows + 1) * max(longest, asked.text.most) > self._limits.tokens:
            self._queue.entries.appendleft(asked)
            return False
        self._batch.append(asked)
        return True

    def _hand(self, made: Sequence[tuple[Text, Token]]) -> None:
        handed = []
        for text, token in made:
            asked = self._running.get(text)
            if asked is None:
                continue
            handed.append((asked, token))
            if token.end:
                del self._running[text]
                self._queue.took((time.monotonic() - asked.arrived) / self._most, 1)
        if handed:
            self._loop.call_soon_threadsafe(_hand_all, handed)

    def _fail(self, error: Exception) -> None:
        for asked in (*self._running.values(), *self._batch):
            asked.fail(error)
        self._running.clear()
        self._batch.clear()
        self._slots.clear()

    async def close(self, drain: float = 0.0) -> None:
        self._queue.closed = True
        until = time.monotonic() + drain
        while time.monotonic() < until and any(self.load()):
            await asyncio.sleep(min(0.02, drain))
        with self._wake:
            self._stop = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join)
        gone = Closed("the model was shut down before the answer was written")
        self._queue.fail_all(gone)
        self._fail(gone)


def _hand_all(handed: Sequence[tuple[_Asked, Token]]) -> None:
    for asked, token in handed:
        asked.hand(token)
