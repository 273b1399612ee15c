"""What serves a language model: the interface between the OpenAI API and whatever writes, here or in another process.

A `TextEngine` has two methods. All that goes in and comes out has a JSON form (`plain` and `of`), so that an engine may
as well stand at the far end of a socket: one stream of pieces a request, which ends with the last piece, with a
`TextError`, or when the reader closes it (`aclose`), which frees the request's slot.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias, TypeVar

Code: TypeAlias = Literal["invalid", "context_length_exceeded", "full", "late", "closed", "failed"]
T = TypeVar("T")
Finish: TypeAlias = Literal["", "stop", "length"]


class TextError(Exception):
    """Why nothing, or nothing more, is written.

    Attributes:
        code: ``invalid`` and ``context_length_exceeded`` (the request cannot be served as it is), ``full`` (too many
            wait), ``late`` (its deadline passed), ``closed`` (the engine shuts down), ``failed`` (the engine broke).
        param: the field of the request that is to blame, if one is.
        retry_after: seconds; of ``full``.
    """

    def __init__(self, code: Code, message: str, param: str = "", retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.code: Code = code
        self.message, self.param, self.retry_after = message, param, retry_after

    def plain(self) -> dict[str, Any]:
        return {
            "code": self.code, "message": self.message, "param": self.param, "retry_after": self.retry_after,
        }  # fmt: skip

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> TextError:
        return cls(plain["code"], plain["message"], plain["param"], plain["retry_after"])


@dataclass(frozen=True, slots=True)
class Settings:
    """How an answer is written.

    Attributes:
        max_tokens: the most tokens of one answer; None: `About.default_tokens`, or what the context leaves.
        temperature, top_p, seed: as `weigh.serve.batching.Sampling` has them; answer i of n draws with seed + i.
        stop: the answer ends before the first of these texts.
        logprobs: how many of the most likely tokens are told with each; None: no logprobs.
    """

    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. The prompt is a text, token ids, or messages for the model's chat template; one of the three.

    Attributes:
        messages: ``{"role": ..., "content": text}`` each.
        n: answers; pieces say by `Piece.index` which they belong to.
        within: seconds that are left for the whole request, counted from when the engine gets it; None: any time.
    """

    settings: Settings = Settings()
    text: str | None = None
    ids: tuple[int, ...] | None = None
    messages: tuple[Mapping[str, Any], ...] | None = None
    n: int = 1
    within: float | None = None

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Ask:
        settings = Settings(**{**plain["settings"], "stop": tuple(plain["settings"]["stop"])})
        ids, messages = plain["ids"], plain["messages"]
        return cls(
            settings, plain["text"], None if ids is None else tuple(ids),
            None if messages is None else tuple(messages), plain["n"], plain["within"],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scored:
    """A token and its log-probability under the model; `top`: the most likely tokens there, the likeliest first."""

    text: str
    data: tuple[int, ...]
    """Its bytes, as whole numbers, since one token alone need not be whole UTF-8."""
    logprob: float
    top: tuple[Scored, ...] = ()

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Scored:
        return cls(plain["text"], tuple(plain["data"]), plain["logprob"], tuple(map(cls.of, plain["top"])))


@dataclass(frozen=True, slots=True)
class Piece:
    """The next part of an answer.

    Attributes:
        text: whole characters; may be empty.
        tokens: how many tokens were written since the piece before; an end that is not shown is one of them.
        scores: those tokens, where logprobs were asked for.
        finish: set on the answer's last piece: "stop" (the model's end, or a stop text), "length" (`max_tokens`).
        index: of the answer, from 0.
        prompt_tokens: of the request; the same on each piece.
    """

    text: str
    tokens: int
    prompt_tokens: int
    index: int = 0
    finish: Finish = ""
    scores: tuple[Scored, ...] = ()

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Piece:
        return replace(cls(**{**plain, "scores": ()}), scores=tuple(map(Scored.of, plain["scores"])))


@dataclass(frozen=True, slots=True)
class About:
    """What an engine serves.

    Attributes:
        context: the most tokens of prompt and answer together.
        chat: whether the model has a chat template.
        default_tokens: the most tokens of an answer that asks for no `max_tokens`.
    """

    context: int
    chat: bool
    default_tokens: int = 1024

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> About:
        return cls(**plain)


class TextEngine(ABC):
    """Writes answers to requests, several at once."""

    @abstractmethod
    async def about(self) -> About:
        """What it serves."""

    @abstractmethod
    def write(self, ask: Ask) -> AsyncGenerator[Piece, None]:
        """The pieces of all answers, as they are written: an async generator, to be closed by whoever stops reading.

        Raises:
            TextError: from the iterator; those of codes other than ``late``, ``closed`` and ``failed`` before the first
                piece.
        """


def joined(pieces: Sequence[Piece]) -> str:
    """The text of pieces that follow one another.

    >>> joined([Piece("to", 1, 3), Piece("gether", 1, 3, finish="stop")])
    'together'
    """
    return "".join(piece.text for piece in pieces)


async def merged(streams: Sequence[AsyncGenerator[T, None]]) -> AsyncGenerator[T, None]:
    """What comes out of several streams, as it comes; the first error ends all, and all are closed in the end."""
    if len(streams) == 1:
        try:
            async for only in streams[0]:
                yield only
        finally:
            await streams[0].aclose()
        return
    ready: asyncio.Queue[tuple[T | None, BaseException | None]] = asyncio.Queue()
    tasks = [asyncio.ensure_future(_pumped(stream, ready)) for stream in streams]
    try:
        left = len(tasks)
        while left:
            made, error = await ready.get()
            if error is not None:
                raise error
            if made is None:
                left -= 1
            else:
                yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pumped(stream: AsyncGenerator[T, None], ready: asyncio.Queue[tuple[T | None, BaseException | None]]) -> None:
    try:
        async for made in stream:
            ready.put_nowait((made, None))
        ready.put_nowait((None, None))
    except Exception as error:
        ready.put_nowait((None, error))
    finally:
        await stream.aclose()
