"""What a router and its workers say to each other: messages over a Unix socket, a JSON head and bytes behind it."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast, final

import orjson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weigh.server.tensors import Arrays

_SIZES = struct.Struct("<II")
LARGEST = 1 << 30
"""Bytes of a message; what claims to be larger is no message."""


@final
class Wire(asyncio.Protocol):
    """One end.

    Args:
        heard: called with the head and the bytes of each message.
        lost: called once, when the other end is gone.
    """

    def __init__(self, heard: Callable[[dict[str, Any], bytes], None], lost: Callable[[], None]) -> None:
        self._heard, self._lost = heard, lost
        self._buffer = bytearray()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are none by name

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        at, buffer = 0, self._buffer
        while len(buffer) - at >= _SIZES.size:
            head, body = _SIZES.unpack_from(buffer, at)
            if head + body > LARGEST:
                raise ConnectionError(f"a message of {head + body} bytes: the other end is no worker")
            end = at + _SIZES.size + head + body
            if len(buffer) < end:
                break
            start = at + _SIZES.size
            self._heard(orjson.loads(buffer[start : start + head]), bytes(buffer[start + head : end]))
            at = end
        del buffer[:at]

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self._lost()

    def send(self, head: Mapping[str, Any], body: bytes = b"") -> None:
        """Say something at once: the other end begins while this one still reads what else has come.

        Nothing happens where the other end is gone, which `lost` has told.
        """
        if self.transport is not None:
            told = orjson.dumps(head)
            self.transport.write(b"".join((_SIZES.pack(len(told), len(body)), told, body)))

    @property
    def waiting(self) -> int:
        """Bytes that the other end has not taken yet."""
        return self.transport.get_write_buffer_size() if self.transport is not None else 0

    def close(self) -> None:
        """Hang up once all that was said has left."""
        if self.transport is not None:
            self.transport.close()


def packed(arrays: Arrays) -> tuple[list[list[Any]], bytes]:
    """Arrays as a message has them: name, type and shape of each for the head, and their bytes."""
    import numpy as np

    told, parts = [], []
    for name, values in arrays.items():
        if values.dtype.kind in "OSU":
            raw = orjson.dumps([one.decode() if isinstance(one, bytes) else str(one) for one in values.ravel()])
            told.append([name, "text", list(values.shape), len(raw)])
        else:
            raw = np.ascontiguousarray(values).tobytes()
            told.append([name, values.dtype.str, list(values.shape), len(raw)])
        parts.append(raw)
    return told, b"".join(parts)


def unpacked(told: list[list[Any]], body: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of a message."""
    import numpy as np

    found, at = {}, 0
    for name, kind, shape, size in told:
        if kind == "text":
            values = np.empty(int(np.prod(shape)), dtype=object)
            values[:] = orjson.loads(body[at : at + size])
        else:
            values = np.frombuffer(body, kind, offset=at, count=size // np.dtype(kind).itemsize)
        found[name] = values.reshape(shape)
        at += size
    return found
