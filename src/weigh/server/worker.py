"""A model in a process of its own: `python -m weigh.server.worker FD SETTINGS` answers what comes over a socket."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import orjson
import uvloop

from weigh.serve.batching import Batcher, Batching, Closed, Full, Late, Limits
from weigh.server.agree import agrees
from weigh.server.arms import REFUSED, Door
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
        elif "copy" in head:
            if len(self._copies) < SHADOWS:
                task = self._begun(self._shadowed(head, body))
                self._copies.add(task)
                task.add_done_callback(self._copies.discard)
            else:
                self._skip()
        else:
            number = head["n"]
            self._tasks[number] = task = self._begun(self.answer(head, body))
            task.add_done_callback(lambda _: self._tasks.pop(number, None))

    def _skip(self) -> None:
        self.wire.send_later({"skipped": 1})

    def _begun(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work)

    @abstractmethod
    async def answer(self, head: dict[str, Any], body: bytes) -> None:
        """Answer a request over the wire."""

    @abstractmethod
    async def compared(self, head: dict[str, Any], body: bytes) -> dict[str, Any]:
        """Answer a copy of a request that somebody else answered; what there is to log of it."""

    async def _shadowed(self, head: dict[str, Any], body: bytes) -> None:
        start = time.monotonic_ns()
        if start > head["until"]:
            self._skip()
            return
        try:
            seen = {"error": 0} | await self.compared(head, body)
        except (Full, Late, Closed):
            self._skip()  # it did not keep up, which says nothing of its answers
            return
        except Exception as error:  # whatever a model raises is an answer: that it has none
            seen = {"error": 1, "why": _words(error)}
        now = time.monotonic_ns()
        self.shadow.write(head["copy"] | {"m": now, "t": time.time_ns(), "ms": (now - start) / 1e6} | seen)


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

    async def compared(self, head: dict[str, Any], body: bytes) -> dict[str, Any]:
        feed, answers = _copied(head, body)
        made = await self._batcher.answer(feed, head["until"] / 1e9)
        return {"disagreement": int(not agrees(answers, made))}


@final
class QuickWorker(Worker):
    """A model of tensors whose run is shorter than handing it over would be: it runs as a message is heard."""

    def __init__(self, model: Model, shadow: PredictionLog) -> None:
        super().__init__(shadow)
        self._model = model

    def hear(self, head: dict[str, Any], body: bytes) -> None:
        if "copy" in head:
            super().hear(head, body)
        else:
            self.wire.send(*self._answered(head, body))

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

    async def compared(self, head: dict[str, Any], body: bytes) -> dict[str, Any]:
        feed, answers = _copied(head, body)
        made = self._model.run(feed)
        await asyncio.sleep(0)  # requests come first
        return {"disagreement": int(not agrees(answers, made))}


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

    async def compared(self, head: dict[str, Any], body: bytes) -> dict[str, Any]:
        """Whether greedy answers are the same text; of drawn ones there is nothing to compare."""
        ask = Ask.of(head["ask"])
        within = (head["until"] - time.monotonic_ns()) / 1e9
        async with aclosing(_written(self._engine, replace(ask, within=within))) as pieces:
            text = joined([piece async for piece in pieces])
        return {"disagreement": int(text != head["text"])} if ask.settings.temperature == 0 else {}


async def _written(engine: TextEngine, ask: Ask) -> AsyncGenerator[Piece, None]:
    async for piece in engine.write(ask):
        yield piece


def _copied(head: dict[str, Any], body: bytes) -> tuple[Arrays, Arrays]:
    """What a copied request asked, and what it was answered."""
    split = sum(size for *_, size in head["in"])
    return unpacked(head["in"], body[:split]), unpacked(head["out"], body[split:])


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
