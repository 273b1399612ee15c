"""Connections that say nothing are closed: uvicorn's own protocol waits for a first request for ever."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it, on connections that must say something whole in time."""

    idle = 75.0

    @classmethod
    def with_idle(cls, seconds: float) -> type[Protocol]:
        """The same with another patience."""
        return type("Protocol", (cls,), {"idle": seconds})

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._silent = asyncio.get_running_loop().call_later(self.idle, self._hang_up)

    def on_message_complete(self) -> None:
        self._silent.cancel()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._silent.cancel()
        super().connection_lost(exc)

    def _hang_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
