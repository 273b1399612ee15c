"""The one request path, whatever the platform: an ASGI app that speaks the Open Inference Protocol v2."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from weigh.server import tensors
from weigh.server.arms import Arm
from weigh.server.call import Call
from weigh.server.entrance import Entrance, Head, Message, Receive, Refused, Send
from weigh.server.metrics import Metrics
from weigh.server.router import Answer, Router
from weigh.server.tensors import Asked, BadRequest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weigh.server.model import Model
    from weigh.server.routing import Routing
    from weigh.server.settings import ServerSettings
    from weigh.server.traces import Traces


JSON = (b"content-type", b"application/json")
OCTETS = (b"content-type", b"application/octet-stream")
LOGGED = 64
"""Numbers of an output that the log keeps."""
BROKEN = Refused(500, "weigh failed to answer; its log says why")
"""What goes back where weigh itself is at fault."""


class Reply(NamedTuple):
    """What goes back: the status of HTTP, headers, body, and the arm that it was assigned to, or ``none``."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    arm: str


class App:
    """Serves one model, and whoever challenges it.

    Args:
        model: the champion, where it runs in this process; None where it gets one of its own.
        now: who serves.
        token: that admin calls bear.
    """

    def __init__(self, settings: ServerSettings, model: Model | None, now: Routing, token: str) -> None:
        self.settings, self.entrance = settings, Entrance(settings, token)
        self._model, self._now = model, now
        self.metrics = Metrics()
        self.router: Router
        self.traces: Traces | None = None
        self.infer_path = f"/v2/models/{settings.name}/infer"
        self.unit_header = settings.unit_header.lower().encode()
        self._limit = int(settings.deadline * 1e9)
        self._draw = random.Random(os.urandom(32)).getrandbits
        self._follow: asyncio.Task[None] | None = None
        from weigh.server.pages import pages

        self._pages = pages(self)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == self.infer_path and scope["method"] == "POST":
            await self.infer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self._pages(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except Exception as error:  # uvicorn ends with what it is told
            await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def start(self) -> None:
        """Get the arms ready."""
        self.router = Router(self.settings, self._model, self._now)
        await self.router.begin()
        if self.settings.traces:
            from weigh.server.traces import Traces

            self.traces = Traces(self.settings)
        self._follow = asyncio.get_running_loop().create_task(self.router.follow())

    async def stop(self) -> None:
        """End the arms, once what waits is answered."""
        if self._follow is not None:
            self._follow.cancel()
            await asyncio.wait([self._follow])  # what it was loading is let go
        await self.router.close()
        if self.traces is not None:
            self.traces.close()

    async def infer(self, scope: Message, receive: Receive, send: Send, version: str = "") -> None:
        """One inference request, from its head to its log."""
        start, span = time.monotonic_ns(), None
        try:
            head = self.head(scope["headers"])
            span = self.traces.begin(head.trace) if self.traces is not None else None
            body = await self.entrance.body(head, receive)
        except Refused as error:
            reply = self.refused(error, start)
        else:
            reply = await self._awaited(head, body, version)
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
        await send({"type": "http.response.body", "body": reply.body})
        if span is not None and self.traces is not None:
            self.traces.end(span, reply.status, reply.arm)

    async def _awaited(self, head: Head, body: bytes, version: str) -> Reply:
        heard: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def told(made: Reply) -> None:
            if not heard.done():  # it is where the server stops and nobody waits any more
                heard.set_result(made)

        self.reply(head, body, told, version)
        return await heard

    def head(self, headers: list[tuple[bytes, bytes]]) -> Head:
        """What the headers of a request say.

        Raises:
            Refused: they say what cannot be, or the token is missing that all need here.
        """
        head = Head(headers, self.unit_header)
        if self.settings.private:
            self.entrance.need_token(head.bearer)
        return head

    def reply(self, head: Head, body: bytes, told: Callable[[Reply], None], version: str = "") -> None:
        """Have the reply to a request told once, logged and counted by then; perhaps before this returns.

        Args:
            body: all of it. What a client needs to send it is no time of ours: it counts from here.
            version: the arm that is asked for; empty: the one that the unit is assigned to.
        """
        start, router = time.monotonic_ns(), self.router
        try:
            door = router.door
            if door.kind != "tensors":
                raise Refused(400, f"{self.settings.name} is a language model: POST /v1/chat/completions")
            try:
                asked = tensors.read(body, head.header, door.inputs, door.outputs)
            except BadRequest as error:
                raise Refused(400, str(error)) from None
            call = self.call(asked.id or head.request, head.unit or asked.unit, start, head.within, version)
        except Refused as error:
            told(self.refused(error, start))
            return

        def answered(answer: Answer) -> None:
            try:
                made = self._replied(asked, call, answer)
            except Exception:  # whoever told it has others to tell
                logging.getLogger("uvicorn.error").exception("an answer cannot be sent")
                made = self.refused(BROKEN, start)
            told(made)

        router.ask(call.arm, asked.inputs, call.until, answered)

    def refused(self, error: Refused, start: int) -> Reply:
        """What goes back where a request meets no arm, counted."""
        self.metrics.count("none", "", error.status, (time.monotonic_ns() - start) / 1e9)
        return refusal(error)

    def drawn(self) -> str:
        """An id that no other request has."""
        return f"{self._draw(64):016x}"

    def call(self, request: str, unit: str, start: int, within: int, version: str = "") -> Call:
        """A request and the arm that it is assigned to.

        Args:
            request: its id; one is drawn where it is empty.
            unit: whom it is for; itself where it is empty.
            within: nanoseconds to its deadline; 0: as long as the server allows.
            version: the arm that it asks for by itself; empty: the one that it is assigned to.

        Raises:
            Refused: there is no such version.
        """
        router = self.router
        request = request or self.drawn()
        arm = self._of_version(version) if version else router.assigned(unit or request)
        until = start + (min(self._limit, within) if within else self._limit)
        return Call(request, unit or request, arm, arm.version, router.challenge, start, until, bool(version))

    def _replied(self, asked: Asked, call: Call, answer: Answer) -> Reply:
        """What goes back of an answer, logged and counted before anybody gets it."""
        router, inputs, outputs = self.router, asked.inputs, answer.outputs
        payload, size = b"", None
        if outputs is not None:
            payload, size, broken = tensors.write(
                asked, outputs, router.door.outputs, self.settings.name, answer.by.version
            )
            if broken:
                answer.error = answer.error or f"output '{broken}' holds NaN or infinity"
        seen: dict[str, Any] = {} if outputs is None else {"out": {name: _shown(one) for name, one in outputs.items()}}
        if self.settings.log_inputs:
            seen["in"] = {name: values.ravel().tolist() for name, values in inputs.items()}
        self.note(call, answer.status, answer.error, answer.by.name, seen)
        if outputs is None:
            full = f"{self.settings.queue} requests wait already; try again later"
            retry = ((b"retry-after", b"1"),) if answer.status in (429, 503) else ()
            return refusal(Refused(answer.status, full if answer.status == 429 else answer.error, retry), answer.arm)
        if call.challenge is not None and not answer.error and not call.explicit:
            router.shadow(call, inputs, outputs)
        headers = [
            JSON if size is None else OCTETS, (b"content-length", b"%d" % len(payload)),
            *call.headers(answer.by.version),
        ]  # fmt: skip
        if size is not None:
            headers.append((b"inference-header-content-length", b"%d" % size))
        return Reply(200, headers, payload, answer.arm)

    def _of_version(self, version: str) -> Arm:
        for arm in self.router.arms():
            if arm.version == version and arm.up:
                return arm
        raise Refused(404, f"no arm serves version {version[:40]!r}; GET /v2/models/{self.settings.name} lists them")

    def note(self, call: Call, status: int, error: str, by: str, seen: Mapping[str, Any]) -> None:
        """Log and count a request.

        Args:
            status: of HTTP.
            error: why the arm that it was assigned to has no answer; empty where it has one.
            by: the arm that answered.
            seen: what else is kept of it.
        """
        now, challenge = time.monotonic_ns(), call.challenge
        entry: dict[str, Any] = {
            "id": call.id, "t": time.time_ns(), "m": now,
            "unit": blake2b(call.unit.encode(), digest_size=8).hexdigest(), "arm": call.arm.name,
            "version": call.version, "status": status, "ms": (now - call.start) / 1e6,
        }  # fmt: skip
        if challenge is not None:
            entry["rollout"], entry["stage"] = challenge.id, challenge.stage
        if error:
            entry["error"] = error[:200]
            self.metrics.failed(call.arm.name)
        if call.explicit:
            entry["explicit"] = True
        if by != call.arm.name:
            entry["by"] = by
        entry |= seen
        self.router.log.write(entry)
        self.metrics.count(call.arm.name, call.version, status, (now - call.start) / 1e9)


def _shown(values: NDArray[Any]) -> Any:
    """What the log keeps of an output: its first numbers."""
    flat = values.ravel()[:LOGGED]
    if flat.dtype.kind in "OSU":
        return [str(one) for one in flat]
    return flat.astype("f4") if flat.dtype.str == "<f2" else flat


def refusal(error: Refused, arm: str = "none") -> Reply:
    """What goes back where there is no answer."""
    body = orjson.dumps({"error": error.why})
    return Reply(error.status, [JSON, (b"content-length", b"%d" % len(body)), *error.headers], body, arm)
