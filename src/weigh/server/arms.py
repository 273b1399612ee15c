"""The arms of a server: models that requests go to, in the router's own process or in one of their own."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, final

import orjson

from weigh.server.copies import Copies
from weigh.server.language import Ask, Piece, TextError
from weigh.server.tensors import Tensor
from weigh.server.wire import Wire, packed, unpacked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weigh.server.model import Model
    from weigh.server.routing import Served
    from weigh.server.settings import ServerSettings
    from weigh.server.tensors import Arrays

FIRST_WAIT, LONGEST_WAIT = 0.2, 10.0
SWEEP = 0.02
"""Seconds between two looks at deadlines."""
LOADING = 300.0
"""Seconds that a model has to be loaded."""
TRIES = 3
"""Deaths before it ever answered after which a process is given up."""
REFUSED = 2
"""Exit status of a process that cannot serve the model."""
BACKLOG = 64_000_000
"""Bytes that wait for a process before requests are refused."""
SHADOW_BACKLOG = 4_000_000
"""Bytes that wait for a shadow before copies are left out."""


@dataclass(frozen=True, slots=True)
class Door:
    """What clients see of a model.

    Attributes:
        kind: ``tensors`` (the Open Inference Protocol) or ``text`` (OpenAI's API).
        version: the start of the digest of its content.
        platform: what runs it.
        inputs, outputs: of tensors.
        about: of text, `weigh.server.language.About` as JSON.
    """

    kind: Literal["tensors", "text"]
    version: str
    platform: str
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    about: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, model: Model) -> Door:
        """Of a model of tensors."""
        return cls("tensors", model.version, model.platform, model.inputs, model.outputs)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Door:
        """From `plain()`."""
        ports = {
            side: tuple(Tensor(one["name"], one["datatype"], tuple(one["shape"])) for one in plain[side])
            for side in ("inputs", "outputs")
        }
        return cls(**{**plain, **ports})

    def metadata(self, name: str, versions: list[str]) -> dict[str, Any]:
        """As the protocol's model metadata has it."""
        return {
            "name": name, "versions": versions, "platform": self.platform,
            "inputs": [one.metadata() for one in self.inputs], "outputs": [one.metadata() for one in self.outputs],
        }  # fmt: skip


class Full(Exception):
    """So many requests wait for the arm that one more is refused."""


class Down(Exception):
    """The arm's process is gone; it is being started again."""


class Late(Exception):
    """The deadline passed before there was an answer."""


class Failed(Exception):
    """The model raised an error."""


Outcome: TypeAlias = "dict[str, NDArray[Any]] | Full | Down | Late | Failed"
"""All outputs, or why there are none."""
Told: TypeAlias = Callable[[Outcome], None]


class Arm(ABC):
    """A model that answers.

    Attributes:
        name: champion, baseline, canary or challenger.
        served: which model it is.
        door: what clients see of it; None until a process has loaded it.
        waiting: requests that were given to it and are not answered.
    """

    name: str
    served: Served
    door: Door | None = None
    waiting: int = 0

    @property
    def version(self) -> str:
        """Of the model, as clients see it; empty until it is loaded."""
        return self.door.version if self.door is not None else ""

    @property
    @abstractmethod
    def up(self) -> bool:
        """Whether it answers now."""

    @abstractmethod
    def ask(self, feed: Arrays, until: int, told: Told) -> None:
        """Have the outputs told, perhaps before this returns.

        Args:
            feed: inputs, read and checked.
            until: the deadline, by `time.monotonic_ns`.
            told: is called once, on the loop: with all outputs, or with why there are none (`Full`, `Down`, `Late`,
                `Failed`).
        """

    @abstractmethod
    async def close(self, seconds: float) -> None:
        """End, once what waits is answered or the seconds are over."""


@final
class InlineArm(Arm):
    """A model in the router's process, for models so fast that handing over would take longer than the run."""

    up = True

    def __init__(self, name: str, served: Served, model: Model) -> None:
        self.name, self.served, self.door = name, served, Door.of(model)
        self.run = model.run

    def ask(self, feed: Arrays, until: int, told: Told) -> None:
        made: Outcome
        try:
            made = self.run(feed)
        except Exception as error:  # whatever a model raises, the request has no answer
            made = Failed(f"{type(error).__name__}: {error}"[:500])
        told(made)

    async def close(self, seconds: float) -> None:
        return


@final
class ProcessArm(Arm):
    """A model in a process of its own, which is started again when it dies.

    Args:
        idle: the process runs when nobody else wants to.
    """

    def __init__(self, name: str, served: Served, settings: ServerSettings, idle: bool = False) -> None:
        self.name, self.served, self._settings, self._idle = name, served, settings, idle
        self.dropped = self.deaths = 0
        self.refusal = ""
        self._words: deque[str] = deque(maxlen=50)
        self._wire: Wire | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._copies = Copies(self._sent)
        self._calls: dict[int, tuple[int, Told]] = {}
        self._streams: dict[int, asyncio.Queue[dict[str, Any]]] = {}
        self._number = 0
        self._ready = asyncio.Event()
        self._closing = False
        self._keeper = asyncio.get_running_loop().create_task(self._keep())
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    @property
    def up(self) -> bool:
        return self._ready.is_set()

    @property
    def waiting(self) -> int:  # type: ignore[override]
        return len(self._calls) + len(self._streams)

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return self._process.pid if self._process else None

    async def ready(self, seconds: float = LOADING) -> None:
        """Wait until it answers.

        Raises:
            Failed: the model cannot be loaded.
        """
        waiter = asyncio.ensure_future(self._ready.wait())
        await asyncio.wait([waiter, self._keeper], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not self._ready.is_set():
            waiter.cancel()
            late = f"{self.served.path} was not loaded within {seconds:g} s"
            raise Failed(self.refusal or (late if not self._keeper.done() else "the process ended"))

    def ask(self, feed: Arrays, until: int, told: Told) -> None:
        if self.waiting >= self._settings.queue or (self._wire is not None and self._wire.waiting > BACKLOG):
            told(Full())
        elif self._wire is None or not self._ready.is_set():
            told(Down())
        else:
            given, raw = packed(feed)
            self._number += 1
            self._calls[self._number] = (until, told)
            self._wire.send({"n": self._number, "in": given, "until": until}, raw)

    async def write(self, ask: Ask, until: int) -> AsyncGenerator[Piece, None]:
        """The pieces of a text; closing it frees what writes them.

        Raises:
            TextError: from the generator.
        """
        if self.waiting >= self._settings.queue:
            raise TextError("full", f"{self.waiting} requests wait already; try again later", retry_after=1.0)
        if self._wire is None or not self._ready.is_set():
            raise TextError("closed", "the model's process is being started again; try again later", retry_after=1.0)
        self._number += 1
        number, heard = self._number, asyncio.Queue[dict[str, Any]]()
        self._streams[number] = heard
        within = (until - time.monotonic_ns()) / 1e9
        self._wire.send({"n": number, "ask": replace(ask, within=within).plain()})
        try:
            while "end" not in (head := await _heard(heard, until)):
                if "refused" in head:
                    raise TextError.of(head["refused"])
                yield Piece.of(head["piece"])
        finally:
            if self._streams.pop(number, None) is not None and self._wire is not None:
                self._wire.send({"cancel": number})

    def copy(self, entry: Mapping[str, Any], feed: Arrays, answers: Arrays) -> None:
        """Give it a copy of a request that was answered; left out, and counted, where it does not keep up."""
        if self._keeps_up():
            self._copies.add(entry, feed, answers)

    def copy_text(self, entry: Mapping[str, Any], ask: Ask, text: str) -> None:
        """The same of a text."""
        if self._keeps_up():
            self._copies.add_text(entry, ask, text)

    def _sent(self, head: Mapping[str, Any], body: bytes) -> None:
        if self._wire is None:
            self.dropped += len(head["copies"])
        else:
            self._wire.send(head, body)

    def _keeps_up(self) -> bool:
        if self._wire is not None and self._ready.is_set() and self._wire.waiting <= SHADOW_BACKLOG:
            return True
        self.dropped += 1
        return False

    async def close(self, seconds: float) -> None:
        self._closing = True
        end = time.monotonic() + seconds
        while self.waiting and time.monotonic() < end:
            await asyncio.sleep(0.01)
        self._keeper.cancel()
        self._sweeper.cancel()
        self._ready.clear()
        self._copies.flush()
        if self._wire is not None:
            self._wire.close()
        self._forsake()
        if self._process is not None:
            await asyncio.to_thread(_ended, self._process)

    async def _sweep(self) -> None:
        """Give up calls whose deadline passed: one look at all of them costs less than a timer each."""
        while True:
            await asyncio.sleep(SWEEP)
            now = time.monotonic_ns()
            for number in [number for number, (until, _) in self._calls.items() if until < now]:
                self._calls.pop(number)[1](Late())

    async def _keep(self) -> None:
        """Start the process, and again whenever it ends."""
        wait = FIRST_WAIT
        while True:
            gone = asyncio.Event()
            process = await self._start(gone)
            waiter = asyncio.ensure_future(gone.wait())
            await waiter
            was_up = self._ready.is_set()
            self._ready.clear()
            self._wire = None
            self._forsake()
            code = await asyncio.to_thread(_ended, process)
            if self._closing:
                return
            self.deaths += 1
            if code == REFUSED or (self.door is None and self.deaths == TRIES):
                self.refusal = next(iter(reversed(self._words)), f"its process ended ({code})")
                return
            wait = FIRST_WAIT if was_up else min(2 * wait, LONGEST_WAIT)
            await asyncio.sleep(wait)

    def _forsake(self) -> None:
        """Tell whoever still waits that the process is gone."""
        calls, self._calls = self._calls, {}
        for _, told in calls.values():
            told(Down())
        for heard in self._streams.values():
            heard.put_nowait({"refused": TextError("closed", "the model's process is gone").plain()})

    async def _start(self, gone: asyncio.Event) -> subprocess.Popen[bytes]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        told = orjson.dumps(
            {"path": self.served.path, "architecture": self.served.architecture, "threads": self._settings.threads,
             "log": str(self._settings.logs), "idle": self._idle, "batching": self._settings.batching,
             "queue": self._settings.queue}
        ).decode()  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-m", "weigh.server.worker", str(theirs.fileno()), told],
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(os.environ),
        )  # fmt: skip
        self._process = process
        self._words = deque(maxlen=50)
        threading.Thread(target=_read, args=(process, self._words), daemon=True).start()
        theirs.close()
        wire = Wire(self._hear, gone.set)
        self._wire = wire
        await asyncio.get_running_loop().create_connection(lambda: wire, sock=ours)
        return process

    def _hear(self, head: dict[str, Any], body: bytes) -> None:
        if "ready" in head:
            self.door = Door.read(head["ready"])
            self._ready.set()
            return
        if "skipped" in head:
            self.dropped += head["skipped"]
            return
        if (heard := self._streams.get(head["n"])) is not None:
            heard.put_nowait(head)
            return
        if (call := self._calls.pop(head["n"], None)) is not None:
            call[1](_outcome(head, body))


def _outcome(head: dict[str, Any], body: bytes) -> Outcome:
    """What a worker said of a request."""
    if "out" in head:
        return unpacked(head["out"], body)
    if "late" in head:
        return Late()
    return Full() if "full" in head else Failed(head["error"])


def _ended(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of a process that was told to; what does not end is killed."""
    try:
        return process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


async def _heard(pieces: asyncio.Queue[dict[str, Any]], until: int) -> dict[str, Any]:
    """The next message of a stream.

    Raises:
        TextError: the deadline passed.
    """
    try:
        async with asyncio.timeout(max((until - time.monotonic_ns()) / 1e9, 0.0)):
            return await pieces.get()
    except TimeoutError:
        raise TextError("late", "the deadline passed before the answer was whole") from None


def _read(process: subprocess.Popen[bytes], words: deque[str]) -> None:
    """Take what a process says, so that it never waits for a reader; the last lines are kept."""
    assert process.stderr is not None
    with process.stderr as stream:
        for line in stream:
            if text := line.decode(errors="replace").strip():
                words.append(text)
