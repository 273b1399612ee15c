"""A model in a process of its own: `python -m weigh.server.worker FD SETTINGS` answers what comes over a socket."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import orjson
import uvloop

from weigh.serve.batching import Batcher, Batching, Closed, Full, Late, Limits
from weigh.server.agree import agree_each, agrees
from weigh.server.arms import REFUSED, Door
from weigh.server.copies import apart
from weigh.server.language import Ask, TextEngine, TextError, joined
from weigh.server.log import PredictionLog
from weigh.server.model import Model
from weigh.server.wire import Wire, packed, unpacked

if TYPE_CHECKING:
    from weigh.server.language import Piece
    from weigh.server.tensors import Arrays

SHADOWS = 1000
"""Copies that wait; more are left out, and counted."""


class Worker(ABC):
    """Answers messages, several at once.

    Args:
        shadow: where copies of requests are logged, with whether the answers agree.
    """

    def __init__(self, shadow: PredictionLog) -> None:
        self.shadow, self.gone = shadow, asyncio.Event()
        self.wire = Wire(self.hear, self.gone.set)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._copies: set[asyncio.Task[None]] = set()

    def hear(self, head: dict[str, Any], body: bytes) -> None:
        """Take one message."""
        if "cancel" in head:
            if (task := self._tasks.get(head["cancel"])) is not None:
                task.cancel()
        elif "copies" in head:
            self.take(head, body)
        else:
            number = head["n"]
            self._tasks[number] = task = self._begun(self.answer(head, body))
            task.add_done_callback(lambda _: self._tasks.pop(number, None))

    def take(self, head: dict[str, Any], body: bytes) -> None:
        """Begin what there is room for of a message with copies."""
        free = SHADOWS - len(self._copies)
        for entry, copy in zip(head["copies"][:free], apart(head, body)):
            task = self._begun(self._shadowed(entry, head["until"], *copy))
            self._copies.add(task)
            task.add_done_callback(self._copies.discard)
        if (left := len(head["copies"]) - free) > 0:
            self._skip(left)

    def _skip(self, count: int = 1) -> None:
        self.wire.send({"skipped": count})

    def _begun(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work)

    @abstractmethod
    async def answer(self, head: dict[str, Any], body: bytes) -> None:
        """Answer a request over the wire."""

    @abstractmethod
    async def compared(self, asked: Any, answered: Any, until: int) -> dict[str, Any]:
        """Answer a copy of a request that somebody else answered; what there is to log of it."""

    async def _shadowed(self, entry: dict[str, Any], until: int, asked: Any, answered: Any) -> None:
        start = time.monotonic_ns()
        if start > until:
            self._skip()
            return
        try:
            seen = {"error": 0} | await self.compared(asked, answered, until)
        except (Full, Late, Closed):
            self._skip()  # it did not keep up, which says nothing of its answers
            return
        except Exception as error:  # whatever a model raises is an answer: that it has none
            seen = {"error": 1, "why": _words(error)}
        self.shadow.write(_timed(entry, start) | seen)


@final
class TensorWorker(Worker):
    """A model of tensors."""

    def __init__(self, batcher: Batcher, shadow: PredictionLog) -> None:
        super().__init__(shadow)
        self._batcher = batcher

    async def answer(self, head: dict[str, Any], body: bytes) -> None:
        start = time.monotonic_ns()
        told: dict[str, Any]
        made = b""
        try:
            found = await self._batcher.answer(unpacked(head["in"], body), head["until"] / 1e9)
            out, made = packed(found)
            told = {"out": out, "ms": (time.monotonic_ns() - start) / 1e6}
        except Full:
            told = {"full": True}
        except (Late, Closed):
            told = {"late": True}
        except Exception as error:  # whatever a model raises is an answer: that it has none
            told = {"error": _words(error)}
        self.wire.send({"n": head["n"], **told}, made)

    async def compared(self, asked: Arrays, answered: Arrays, until: int) -> dict[str, Any]:
        made = await self._batcher.answer(asked, until / 1e9)
        return {"disagreement": int(not agrees(answered, made))}


@final
class QuickWorker(Worker):
    """A model of tensors whose run is shorter than handing it over would be: it runs as a message is heard."""

    def __init__(self, model: Model, shadow: PredictionLog) -> None:
        super().__init__(shadow)
        self._model = model
        self._copies_wait = 0

    def hear(self, head: dict[str, Any], body: bytes) -> None:
        if "copies" in head:
            self.take(head, body)
        else:
            self.wire.send(*self._answered(head, body))

    def take(self, head: dict[str, Any], body: bytes) -> None:
        count = min(len(head["copies"]), SHADOWS - self._copies_wait)
        self._copies_wait += count
        if count < len(head["copies"]):
            self._skip(len(head["copies"]) - count)
        task = self._begun(self._all_compared(head["copies"][:count], head["until"], apart(head, body)))
        self._copies.add(task)
        task.add_done_callback(self._copies.discard)

    async def _all_compared(
        self, entries: list[dict[str, Any]], until: int, pairs: Iterator[tuple[Arrays, Arrays]]
    ) -> None:
        """Answer copies one by one, as they were asked; compare and log them together, which costs a fraction."""
        done: list[tuple[dict[str, Any], Arrays, Arrays]] = []
        lines: list[dict[str, Any]] = []
        for entry, (asked, answered) in zip(entries, pairs):
            start = time.monotonic_ns()
            self._copies_wait -= 1
            if start > until:
                self._skip()
                continue
            try:
                made = self._model.run(asked)
            except Exception as error:  # whatever a model raises is an answer: that it has none
                lines.append(_timed(entry, start) | {"error": 1, "why": _words(error)})
            else:
                done.append((_timed(entry, start), answered, made))
            await asyncio.sleep(0)  # requests come first
        if done:
            noted, answers, found = zip(*done)
            for entry, same in zip(noted, agree_each(answers, found)):
                lines.append(entry | {"error": 0, "disagreement": int(not same)})
        if lines:
            self.shadow.write_all(lines)

    def _answered(self, head: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        start = time.monotonic_ns()
        if start > head["until"]:
            return {"n": head["n"], "late": True}, b""
        try:
            out, made = packed(self._model.run(unpacked(head["in"], body)))
        except Exception as error:  # whatever a model raises is an answer: that it has none
            return {"n": head["n"], "error": _words(error)}, b""
        return {"n": head["n"], "out": out, "ms": (time.monotonic_ns() - start) / 1e6}, made

    async def answer(self, head: dict[str, Any], body: bytes) -> None:
        self.hear(head, body)

    async def compared(self, asked: Arrays, answered: Arrays, until: int) -> dict[str, Any]:
        return {"disagreement": int(not agrees(answered, self._model.run(asked)))}


@final
class TextWorker(Worker):
    """A language model."""

    def __init__(self, engine: TextEngine, shadow: PredictionLog) -> None:
        super().__init__(shadow)
        self._engine = engine

    async def answer(self, head: dict[str, Any], body: bytes) -> None:
        number = head["n"]
        try:
            async with aclosing(_written(self._engine, Ask.of(head["ask"]))) as pieces:
                async for piece in pieces:
                    self.wire.send({"n": number, "piece": piece.plain()})
            self.wire.send({"n": number, "end": True})
        except TextError as error:
            self.wire.send({"n": number, "refused": error.plain()})

    async def compared(self, asked: Any, answered: str, until: int) -> dict[str, Any]:
        """Whether greedy answers are the same text; of drawn ones there is nothing to compare."""
        ask = replace(Ask.of(asked), within=(until - time.monotonic_ns()) / 1e9)
        async with aclosing(_written(self._engine, ask)) as pieces:
            text = joined([piece async for piece in pieces])
        return {"disagreement": int(text != answered)} if ask.settings.temperature == 0 else {}


async def _written(engine: TextEngine, ask: Ask) -> AsyncGenerator[Piece, None]:
    async for piece in engine.write(ask):
        yield piece


def _timed(entry: dict[str, Any], start: int) -> dict[str, Any]:
    """What is logged of a copy that was begun at `start` and is answered now."""
    now = time.monotonic_ns()
    return entry | {"m": now, "t": time.time_ns(), "ms": (now - start) / 1e6}


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]


async def begun(settings: dict[str, Any]) -> tuple[Worker, Door]:
    """The model, loaded and warm; called on the loop that will use it.

    Raises:
        UsageError: it cannot be served.
        Unfit: it cannot be batched so.
    """
    from weigh import catalog
    from weigh.model.measures import kind_at

    shadow = PredictionLog(Path(settings["log"]), "shadow")
    choice = catalog.choice("serve/batching")
    batching, limits = catalog.find(choice, settings["batching"]), Limits(waiting=settings["queue"])
    assert isinstance(batching, Batching)
    if kind_at(Path(settings["path"])) == "language":
        from weigh.model.registry import located
        from weigh.server.language_engine import open_engine

        engine = open_engine(located(Path(settings["path"])), batching, settings["threads"], limits)
        about = await engine.about()
        return TextWorker(engine, shadow), Door("text", engine.digest[:12], engine.platform, about=about.plain())
    model = _opened(settings)
    if model.quick and batching.spec == "single":
        return QuickWorker(model, shadow), Door.of(model)
    return TensorWorker(batching.start(model, limits), shadow), Door.of(model)


def _opened(settings: dict[str, Any]) -> Model:
    from weigh.server.model import open_model

    model = open_model(settings["path"], settings["architecture"], settings["threads"])
    model.warm()
    return model


async def serve(fd: int, settings: dict[str, Any]) -> None:
    """Load the model, say that it is ready, and answer until the router hangs up."""
    worker, door = await begun(settings)
    await asyncio.get_running_loop().create_connection(lambda: worker.wire, sock=socket.socket(fileno=fd))
    worker.wire.send({"ready": door.plain()})
    await worker.gone.wait()


def main() -> None:
    """Serve on the socket that was inherited; why a model cannot be loaded goes to standard error."""
    from weigh.choice import Unfit, UsageError

    fd, settings = int(sys.argv[1]), orjson.loads(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells all; the router says when to go
    if settings.get("idle"):
        os.nice(19)
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    try:
        uvloop.run(serve(fd, settings))
    except (UsageError, Unfit) as error:
        print(error, file=sys.stderr)
        os._exit(REFUSED)
    os._exit(0)  # a run that hangs does not keep the process


if __name__ == "__main__":
    main()
