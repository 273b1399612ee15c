"""What every request passes: its headers, its body up to a limit, and the token where one is needed."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias, final

if TYPE_CHECKING:
    from weigh.server.settings import ServerSettings

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
BODY_SECONDS = 30.0
"""Seconds that a client has to send a body."""


class Refused(Exception):
    """A request that gets an error: its status, why, and headers that go with it."""

    def __init__(self, status: int, why: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(why)
        self.status, self.why, self.headers = status, why, headers


@final
class Entrance:
    """The limits of one server.

    Args:
        token: that admin calls bear.
    """

    def __init__(self, settings: ServerSettings, token: str) -> None:
        self._most, self._token, self._file = settings.max_body, token, settings.state / "token"

    async def body(self, head: Head, receive: Receive) -> bytes:
        """The whole body, up to the limit.

        Raises:
            Refused: it is too large, or does not come.
        """
        most = self._most
        if head.length > most:
            raise Refused(413, f"the body has {head.length} bytes, and {most} are taken at most")
        parts: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refused(400, "the client went away")
                    parts.append(message.get("body", b""))
                    size, more = size + len(parts[-1]), message.get("more_body", False)
                    if size > most:
                        raise Refused(413, f"the body has more than {most} bytes")
        except TimeoutError:
            raise Refused(408, f"the body did not come within {BODY_SECONDS:g} s") from None
        return b"".join(parts)

    def _kept(self) -> str:
        """The token as its file has it, which may have been replaced; the one that we know where there is none."""
        try:
            return self._file.read_text(encoding="utf-8").strip() or self._token
        except OSError:
            return self._token

    def need_token(self, bearer: bytes) -> None:
        """Raises `Refused` where a call does not bear the token."""
        if not hmac.compare_digest(bearer, self._token.encode()):
            self._token = self._kept()
        if not hmac.compare_digest(bearer, self._token.encode()):
            raise Refused(
                401, "send the header 'Authorization: Bearer TOKEN'; the token is in the file 'token' of the server's "
                "folder", ((b"www-authenticate", b"Bearer"),),
            )  # fmt: skip


class Head:
    """What the headers of a request say."""

    __slots__ = ("bearer", "header", "length", "request", "trace", "unit", "within")

    def __init__(self, headers: list[tuple[bytes, bytes]], unit_header: bytes) -> None:
        self.unit = self.request = ""
        self.header: int | None = None
        self.length = self.within = 0
        self.trace = self.bearer = b""
        for name, value in headers:
            if name == b"content-length":
                self.length = int(value)
            elif name == unit_header:
                self.unit = _printable(name, value)
            elif name == b"inference-header-content-length":
                self.header = _whole(name, value)
            elif name == b"x-request-id":
                self.request = _printable(name, value)
            elif name == b"x-deadline-ms":
                self.within = _whole(name, value, 1) * 1_000_000
            elif name == b"authorization":
                self.bearer = value[7:] if value[:7].lower() == b"bearer " else b""
            elif name == b"traceparent":
                self.trace = value


def _whole(name: bytes, value: bytes, least: int = 0) -> int:
    if not value.isdigit() or len(value) > 9 or int(value) < least:
        raise Refused(400, f"the header {name.decode()} is no whole number from {least} to 999,999,999")
    return int(value)


def _printable(name: bytes, value: bytes) -> str:
    text = value.decode("latin-1")
    if len(text) > 256 or not text.isprintable() or not text.isascii():
        raise Refused(400, f"the header {name.decode()} is no text of at most 256 printable ASCII characters")
    return text
