"""uvicorn's HTTP/1.1, with two changes: connections that say nothing are closed, and an answer leaves in one write."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Gathered:
    """A transport that gathers what is written to it until the loop comes round, and writes it at once.

    uvicorn writes the head of an answer and then its body: two calls of the system, and a client that wakes twice.
    """

    __slots__ = ("_held", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Write when the loop comes round."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def _flush(self) -> None:
        if self._held:
            self._transport.write(b"".join(self._held))
            self._held.clear()

    def close(self) -> None:
        """Write what is held, and close."""
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it, on connections that must say something whole in time."""

    idle = 75.0

    @classmethod
    def with_idle(cls, seconds: float) -> type[Protocol]:
        """The same with another patience."""
        return type("Protocol", (cls,), {"idle": seconds})

    def connection_made(self, transport: Any) -> None:
        super().connection_made(Gathered(transport, self.loop))  # type: ignore[arg-type]
        self._silent = self.loop.call_later(self.idle, self._hang_up)

    def on_message_complete(self) -> None:
        self._silent.cancel()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._silent.cancel()
        super().connection_lost(exc)

    def _hang_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
