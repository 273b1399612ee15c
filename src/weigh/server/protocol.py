"""uvicorn's HTTP/1.1, with two changes: nobody holds a connection by silence, and inference needs no task of its own.

uvicorn makes a task, an event and several messages of every request. A request for inference is one call that takes a
body and gives one back; where it came whole and alone it is answered as it is heard, and all else goes uvicorn's way.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from weigh.server.entrance import BODY_SECONDS, Refused

if TYPE_CHECKING:
    from weigh.server.app import App, Reply
    from weigh.server.entrance import Head

HEAD_MOST = 64 << 10
"""Bytes of a request's head."""
DIRECT_MOST = 64 << 10
"""Bytes of a body that is read without ASGI, beyond which a client is slowed down while it sends."""


class Exchange:
    """A request that is being answered without a task, as uvicorn sees it."""

    __slots__ = ("disconnected", "keep_alive", "message_event", "response_complete")

    def __init__(self, keep_alive: bool) -> None:
        self.keep_alive, self.response_complete, self.disconnected = keep_alive, False, False
        self.message_event: Final = NOBODY


class _Nobody:
    """Waits for no message."""

    def set(self) -> None:
        """Nothing to wake."""


NOBODY: Final = _Nobody()


class Outbox:
    """Answers of a turn of the loop, which leave together when it is over.

    Clients that wait on the same machine wake up once a turn then, and not between two requests that are there already.
    """

    def __init__(self) -> None:
        self._held: list[tuple[asyncio.Transport, bytes, bool]] = []

    def put(self, transport: asyncio.Transport, data: bytes, keep: bool) -> None:
        """Take an answer; the connection ends with it unless it is kept."""
        if not self._held:
            asyncio.get_running_loop().call_soon(self.flush)
        self._held.append((transport, data, keep))

    def flush(self) -> None:
        """Let them leave."""
        held, self._held = self._held, []
        for transport, data, keep in held:
            transport.write(data)
            if not keep:
                transport.close()


class Protocol(HttpToolsProtocol):
    """One connection."""

    served: App
    idle: float
    outbox: Outbox

    @classmethod
    def of(cls, app: App) -> type[Protocol]:
        """Connections to an app."""
        return type("Protocol", (cls,), {"served": app, "idle": app.settings.idle, "outbox": Outbox()})

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._infer = self.served.infer_path.encode()
        self._seen = self._begun = 0
        self._inside = self._in_head = self._last = False
        self._head: Head | None = None
        self._running: RequestResponseCycle | None = None
        self._parts: list[bytes] = []
        self._unread: asyncio.TimerHandle | None = None
        self._silent: asyncio.TimerHandle | None = self.loop.call_later(self.idle, self._hang_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head = None
        self._heard()
        if self._running is not None:  # uvicorn tells the last request alone
            self._running.disconnected = True
            self._running.message_event.set()
        self.resume_writing()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        inside, self._begun = self._inside, 0
        super().data_received(data)
        if not self._in_head and self._head is None:
            if self._is_pending() or self.timeout_keep_alive_task is not None:
                self._heard()
            elif self._silent is None:  # empty lines, or the rest of a body that nobody waits for
                self._silent = self.loop.call_later(self.idle, self._hang_up)
            return
        if self._silent is None:
            self._silent = self.loop.call_later(min(self.idle, BODY_SECONDS), self._hang_up)
        if self._in_head and self._begun + inside == 1:  # else most of it was of requests before
            self._seen += len(data)
            if self._seen > HEAD_MOST:
                self._end(431, f"the head of a request has at most {HEAD_MOST} bytes")

    def eof_received(self) -> bool | None:  # type: ignore[override]
        self.outbox.flush()
        cycle: Any = self.cycle
        if not isinstance(cycle, Exchange) or cycle.response_complete:
            return None
        cycle.keep_alive = False
        return True

    def shutdown(self) -> None:
        self.outbox.flush()
        if self._head is not None:  # the body is on its way
            self._last = True
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        if not self._ends_later():
            self.outbox.flush()
            super().send_400_response(msg)

    def _is_pending(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _ends_later(self) -> bool:
        """Whether an answer is due to a request before, with which the connection ends then.

        A refusal would be taken for that answer.
        """
        if not self._is_pending() or getattr(self.cycle, "more_body", False):
            return False
        self.cycle.keep_alive = False
        self.flow.pause_reading()
        return True

    def _heard(self) -> None:
        if self._silent is not None:
            self._silent.cancel()
            self._silent = None

    def _hang_up(self) -> None:
        self._silent = None
        if self._head is not None:
            self._end(408, f"the body did not come within {min(self.idle, BODY_SECONDS):g} s")
        elif not self._ends_later() and not self.transport.is_closing():
            self.outbox.flush()
            self.transport.close()

    def _end(self, status: int, why: str) -> None:
        """Say why, and hang up."""
        from weigh.server.app import refusal

        if self._ends_later():
            return
        self._in_head, self._head = False, None
        if not self.transport.is_closing():
            self._send(refusal(Refused(status, why)), keep=False)

    def on_message_begin(self) -> None:
        self._inside, self._in_head, self._seen = True, True, 0
        self._begun += 1
        self._heard()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self.url != self._infer or not self._is_direct():
            super().on_headers_complete()

    def _is_direct(self) -> bool:
        """Whether the request will be answered as it is heard."""
        before, app = self.cycle, self.served
        if (
            self.parser.get_method() != b"POST" or (before is not None and not before.response_complete)
            or self.expect_100_continue or self.flow.write_paused or app.traces is not None
            or self.parser.get_http_version() != "1.1" or self.parser.should_upgrade() or self.transport.is_closing()
        ):  # fmt: skip
            return False
        try:
            head = app.head(self.headers)
        except Refused:
            return False
        if not 0 < head.length <= min(DIRECT_MOST, app.settings.max_body):
            return False
        self._head = head
        return True

    def on_body(self, body: bytes) -> None:
        if self._head is None:
            super().on_body(body)
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        head, self._inside = self._head, False
        if head is None:
            super().on_message_complete()
            return
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._head = None
        self._parts.clear()
        exchange = Exchange(self.parser.should_keep_alive() and not self._last)
        self.cycle = exchange  # type: ignore[assignment]
        try:
            self.served.reply(head, body, lambda reply: self._answer(exchange, reply))
        except Exception:
            logging.getLogger("uvicorn.error").exception("an inference request failed")
            if not exchange.response_complete:
                self._answer(exchange, _broken())

    def _answer(self, exchange: Exchange, reply: Reply) -> None:
        exchange.response_complete = True
        if not exchange.disconnected and not self.transport.is_closing():
            self._send(reply, exchange.keep_alive)
            self.on_response_complete()

    def _send(self, reply: Reply, keep: bool) -> None:
        parts = [STATUS_LINE[reply.status]]
        for name, value in reply.headers:
            parts += (name, b": ", value, b"\r\n")
        parts += (b"\r\n" if keep else b"connection: close\r\n\r\n", reply.body)
        self.outbox.put(self.transport, b"".join(parts), keep)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self._unread or self.loop.call_later(self.idle, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


def _broken() -> Reply:
    """What goes back where weigh itself is at fault."""
    from weigh.server.app import BROKEN, refusal

    return refusal(BROKEN)
