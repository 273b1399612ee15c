"""The one request path, whatever the platform: an ASGI app that speaks the Open Inference Protocol v2."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import orjson

from weigh.server import tensors
from weigh.server.arms import Arm, Full
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
        self._infer = f"/v2/models/{settings.name}/infer"
        self.unit_header = settings.unit_header.lower().encode()
        self._limit = int(settings.deadline * 1e9)
        self._draw = random.Random(os.urandom(32)).getrandbits
        self._follow: asyncio.Task[None] | None = None
        from weigh.server.pages import pages

        self._pages = pages(self)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == self._infer and scope["method"] == "POST":
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
        await self.router.close()
        if self.traces is not None:
            self.traces.close()

    async def infer(self, scope: Message, receive: Receive, send: Send, version: str = "") -> None:
        """One inference request, from its first byte to its log."""
        start = time.monotonic_ns()
        span = None
        try:
            head = Head(scope["headers"], self.unit_header)
            span = self.traces.begin(head.trace) if self.traces is not None else None
            if self.settings.private:
                self.entrance.need_token(head.bearer)
            body = await self.entrance.body(head, receive)
            door = self.router.door
            if door.kind != "tensors":
                raise Refused(400, f"{self.settings.name} is a language model: POST /v1/chat/completions")
            try:
                asked = tensors.read(body, head.header, door.inputs, door.outputs)
            except BadRequest as error:
                raise Refused(400, str(error)) from None
            call = self.call(asked.id or head.request, head.unit or asked.unit, start, head.within, version)
            answer, payload, size = await self._answered(asked, call)
        except Refused as error:
            if not error.counted:
                self.metrics.count("none", "", error.status, (time.monotonic_ns() - start) / 1e9)
            await refuse(send, error)
            if span is not None and self.traces is not None:
                self.traces.end(span, error.status, "none")
            return
        headers = [
            JSON if size is None else OCTETS,
            (b"content-length", b"%d" % len(payload)),
            *call.headers(answer.by.version),
        ]
        if size is not None:
            headers.append((b"inference-header-content-length", b"%d" % size))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": payload})
        if span is not None and self.traces is not None:
            self.traces.end(span, 200, answer.arm)

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

    async def _answered(self, asked: Asked, call: Call) -> tuple[Answer, bytes, int | None]:
        """The answer and its body, logged and counted before anybody gets it."""
        router, inputs = self.router, asked.inputs
        try:
            answer = await router.answer(call.arm, inputs, call.until)
        except Full:
            raise self._full(call) from None
        outputs, payload, size = answer.outputs, b"", None
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
            retry = ((b"retry-after", b"1"),) if answer.status == 503 else ()
            raise Refused(answer.status, answer.error, retry, counted=True)
        if call.challenge is not None and not answer.error and not call.explicit:
            router.shadow(call, inputs, outputs)
        return answer, payload, size

    def _full(self, call: Call) -> Refused:
        """What is said where too many requests wait, logged and counted."""
        self.note(call, 429, "too many wait", call.arm.name, {})
        why = f"{self.settings.queue} requests wait already; try again later"
        return Refused(429, why, ((b"retry-after", b"1"),), counted=True)

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


async def refuse(send: Send, error: Refused) -> None:
    body = orjson.dumps({"error": error.why})
    headers = [JSON, (b"content-length", b"%d" % len(body)), *error.headers]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
