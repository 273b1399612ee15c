"""Copies of requests for whoever is compared: gathered for a moment, sent together, and taken apart again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, final

from weigh.server.wire import packed, unpacked

if TYPE_CHECKING:
    from weigh.server.language import Ask
    from weigh.server.tensors import Arrays

GATHER = 0.02
"""Seconds for which copies are gathered: each message wakes the process that takes it, which takes a core."""
MOST = 256_000
"""Bytes beyond which they leave at once."""
WAIT = 30_000_000_000
"""Nanoseconds after which a copy that is not begun is left out."""


@final
class Copies:
    """Copies that wait to be sent. What a request costs its server for them is little more than an entry in a list.

    Args:
        send: sends a message: its head, and the bytes behind it.
    """

    def __init__(self, send: Callable[[Mapping[str, Any], bytes], None]) -> None:
        self._send = send
        self._alike: dict[Any, list[tuple[Mapping[str, Any], Any, Any]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.size = 0

    def add(self, entry: Mapping[str, Any], feed: Arrays, answers: Arrays) -> None:
        """Take what was asked and what was answered; `entry` is what will be logged of it."""
        shapes: list[Any] = []
        size = 0
        for name, values in (*feed.items(), *answers.items()):
            shapes += (name, values.dtype, values.shape)
            size += values.nbytes
        self._add((len(feed), *shapes), entry, feed, answers, size)

    def add_text(self, entry: Mapping[str, Any], ask: Ask, text: str) -> None:
        """The same of a text."""
        plain = ask.plain()
        self._add("text", entry, plain, text, len(str(plain)) + len(text))

    def _add(self, kind: Any, entry: Mapping[str, Any], asked: Any, answered: Any, size: int) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER, self.flush)
        self._alike.setdefault(kind, []).append((entry, asked, answered))
        self.size += size
        if self.size > MOST:
            self.flush()

    def flush(self) -> None:
        """Send all."""
        if self._timer is not None:
            self._timer.cancel()
        alike, self._alike, self._timer, self.size = self._alike, {}, None, 0
        for kind, copies in alike.items():
            entries, asked, answered = zip(*copies)
            head = {"copies": entries, "until": time.monotonic_ns() + WAIT}
            if kind == "text":
                self._send({**head, "asked": asked, "texts": answered}, b"")
            else:
                (given, raw), (out, tail) = packed(_stacked(asked)), packed(_stacked(answered))
                self._send({**head, "in": given, "out": out}, raw + tail)


def _stacked(some: tuple[Arrays, ...]) -> Arrays:
    """Arrays of one shape as one array, with an axis more in front."""
    import numpy as np

    return {name: np.stack([one[name] for one in some]) for name in some[0]}


def apart(head: Mapping[str, Any], body: bytes) -> Iterator[tuple[Any, Any]]:
    """What each copy of a message asked, and what it was answered: arrays, or an `Ask` as JSON and a text."""
    if "texts" in head:
        yield from zip(head["asked"], head["texts"])
        return
    split = sum(size for *_, size in head["in"])
    asked, answered = unpacked(head["in"], body[:split]), unpacked(head["out"], body[split:])
    for place in range(len(head["copies"])):
        yield (
            {name: values[place] for name, values in asked.items()},
            {name: values[place] for name, values in answered.items()},
        )
