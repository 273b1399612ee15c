"""A model in a process of its own: `python -m weigh.server.worker FD SETTINGS` answers what comes over a socket."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import orjson

from weigh.server.agree import agrees
from weigh.server.arms import Door
from weigh.server.log import PredictionLog
from weigh.server.model import Model, open_model, seconds_of
from weigh.server.wire import Wire, packed, unpacked


class Worker:
    """Runs requests one after another, off the thread that reads them.

    Args:
        model: what answers.
        wire: to the router.
        loop: that the wire lives in.
        shadow: where copies of requests are logged, with whether the answers agree.
    """

    def __init__(self, model: Model, loop: asyncio.AbstractEventLoop, shadow: PredictionLog) -> None:
        self.model, self.loop, self.shadow = model, loop, shadow
        self.wire: Wire | None = None
        self._work: queue.SimpleQueue[tuple[dict[str, Any], bytes]] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def hear(self, head: dict[str, Any], body: bytes) -> None:
        """Take one message."""
        self._work.put((head, body))

    def _run(self) -> None:
        while True:
            head, body = self._work.get()
            if "copy" in head:
                self._copy(head, body)
            else:
                told, made = self._answer(head, body)
                self.loop.call_soon_threadsafe(self._say, told, made)

    def _say(self, head: dict[str, Any], body: bytes) -> None:
        if self.wire is not None:
            self.wire.send(head, body)

    def _answer(self, head: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        start = time.monotonic_ns()
        if start > head["until"]:
            return {"n": head["n"], "late": True}, b""
        try:
            told, made = packed(self.model.run(unpacked(head["in"], body)))
        except Exception as error:  # whatever a model raises is an answer: that it has none
            return {"n": head["n"], "error": f"{type(error).__name__}: {error}"[:500]}, b""
        return {"n": head["n"], "out": told, "ms": (time.monotonic_ns() - start) / 1e6}, made

    def _copy(self, head: dict[str, Any], body: bytes) -> None:
        """A copy of a request that somebody else answered: is the answer the same?"""
        entry, start = head["copy"], time.monotonic_ns()
        if start > head["until"]:
            return
        split = sum(size for *_, size in head["in"])
        try:
            made = self.model.run(unpacked(head["in"], body[:split]))
            entry["disagreement"] = 0 if agrees(unpacked(head["out"], body[split:]), made) else 1
            entry["error"] = 0
        except Exception as error:
            entry |= {"error": 1, "why": f"{type(error).__name__}: {error}"[:200]}
        now = time.monotonic_ns()
        self.shadow.write(entry | {"m": now, "ms": (now - start) / 1e6})


async def serve(fd: int, settings: dict[str, Any]) -> None:
    """Load the model, say that it is ready, and answer until the router hangs up."""
    loop, gone = asyncio.get_running_loop(), asyncio.Event()
    shadow = PredictionLog(Path(settings["log"]), "shadow")
    model = open_model(settings["path"], settings["architecture"], settings["threads"])
    seconds_of(model, 3)  # so that the first request finds it warm
    worker = Worker(model, loop, shadow)
    wire = Wire(worker.hear, gone.set)
    worker.wire = wire
    await loop.create_connection(lambda: wire, sock=socket.socket(fileno=fd))
    wire.send({"ready": Door.of(model).plain()})
    await gone.wait()


def main() -> None:
    """Serve on the socket that was inherited; why a model cannot be loaded goes to standard error."""
    from weigh.choice import UsageError

    fd, settings = int(sys.argv[1]), orjson.loads(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells all; the router says when to go
    os.nice(settings.get("nice", 0))
    try:
        asyncio.run(serve(fd, settings))
    except UsageError as error:
        print(error, file=sys.stderr)
        os._exit(2)
    os._exit(0)  # a run that hangs does not keep the process


if __name__ == "__main__":
    main()
