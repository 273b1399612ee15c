"""OpenAI's chat and completions API over any `TextEngine`: whole answers, or server-sent events.

A server reads a body (`read_chat`, `read_completions`), picks an engine by the model and the user, and sends what
`reply` gives. `routes` does that for Starlette.

Source: OpenAI API reference; server-sent events, WHATWG HTML section 9.2.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from weigh.choice import unknown
from weigh.server.language import Piece, Scored, TextEngine, TextError, merged
from weigh.server.openai_read import ApiError, Asked

if TYPE_CHECKING:
    from starlette.routing import Route

JSON, EVENTS = "application/json", "text/event-stream; charset=utf-8"
DONE = b"data: [DONE]\n\n"
GONE = 499
"""What is logged where the client went away before it was answered."""


class Events(AsyncIterator[bytes]):
    """Server-sent events; whoever sends them closes them, sent or not, which frees the request's slots."""

    def __init__(self, events: AsyncGenerator[bytes, None], pieces: AsyncGenerator[Any, None]) -> None:
        self._events, self._pieces = events, pieces

    async def __anext__(self) -> bytes:
        return await anext(self._events)

    async def aclose(self) -> None:
        await self._events.aclose()
        await self._pieces.aclose()  # a generator that was never begun closes nothing that it was given


class Closable(Protocol):
    """Events that are closed by whoever sends them, sent to their end or not."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back: a body, or events."""

    status: int
    body: bytes | Closable
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Card:
    """A model in the list of models; `created` in seconds since 1970."""

    id: str
    created: int = 0
    owner: str = "weigh"

    def plain(self) -> dict[str, Any]:
        return {"id": self.id, "object": "model", "created": self.created, "owned_by": self.owner}


class Engines(ABC):
    """The models that a server has."""

    @abstractmethod
    def cards(self) -> Sequence[Card]:
        """Their names."""

    @abstractmethod
    async def engine(self, model: str, unit: str) -> TextEngine:
        """What serves a model to a user; `unit` is empty where the request names none.

        Raises:
            KeyError: there is no such model.
        """


async def reply(asked: Asked, engine: TextEngine, request_id: str = "") -> Reply:
    """Answer a request. Errors before the first token are statuses; later ones end a stream with an ``error`` event.

    Args:
        request_id: of the answer; a new one when empty.
    """
    forms: _Forms = _Chat(asked, request_id) if asked.kind == "chat" else _Completions(asked, request_id)
    pieces = merged([_numbered(engine, asked, place) for place in range(len(asked.asks))])
    try:
        with _as_api_errors():
            first = await anext(pieces)
        if asked.stream:
            events = Events(_events(forms, first, pieces), pieces)
            return Reply(200, events, {"content-type": EVENTS, "cache-control": "no-cache"})
        async with aclosing(pieces):
            gathered = [first]
            with _as_api_errors():
                gathered += [piece async for piece in pieces]
        return _json(200, forms.whole(gathered))
    except ApiError as error:
        return failed(error)
    except asyncio.CancelledError:
        await pieces.aclose()
        raise


def failed(error: ApiError) -> Reply:
    """An error in the API's form; with Retry-After where trying again later helps."""
    again = {"retry-after": str(math.ceil(error.retry_after))} if error.retry_after else {}
    return replace(_json(error.status, error.body()), headers={"content-type": JSON, **again})


def models(cards: Sequence[Card]) -> Reply:
    """The list of models."""
    return _json(200, {"object": "list", "data": [card.plain() for card in cards]})


def model(cards: Sequence[Card], name: str) -> Reply:
    """One of them."""
    found = next((card for card in cards if card.id == name), None)
    return failed(no_model(cards, name)) if found is None else _json(200, found.plain())


def no_model(cards: Sequence[Card], name: str) -> ApiError:
    """There is no such model."""
    return ApiError(404, unknown("model", name[:200], [card.id for card in cards]), "model", "model_not_found")


def _json(status: int, plain: Mapping[str, Any]) -> Reply:
    import orjson

    return Reply(status, orjson.dumps(plain), {"content-type": JSON})


async def _numbered(engine: TextEngine, asked: Asked, place: int) -> AsyncGenerator[tuple[int, Piece], None]:
    """Pieces of one prompt's answers; indices go on from prompt to prompt."""
    ask = asked.asks[place]
    async with aclosing(engine.write(ask)) as pieces:
        async for piece in pieces:
            yield place, replace(piece, index=piece.index + place * ask.n)


@contextmanager
def _as_api_errors() -> Iterator[None]:
    try:
        yield
    except TextError as error:
        raise ApiError.of(error) from None


async def _events(
    forms: _Forms, first: tuple[int, Piece], pieces: AsyncGenerator[tuple[int, Piece], None]
) -> AsyncGenerator[bytes, None]:
    """Server-sent events: what every answer begins with, its parts, the counts, the end."""
    async with aclosing(pieces):
        for event in forms.begin():
            yield _event(event)
        try:
            yield _event(forms.part(*first))
            with _as_api_errors():
                async for numbered in pieces:
                    yield _event(forms.part(*numbered))
        except ApiError as error:
            yield _event(error.body())
            return
        if forms.asked.usage:
            yield _event(forms.counts())
        yield DONE


def _event(plain: Mapping[str, Any]) -> bytes:
    import orjson

    return b"data: " + orjson.dumps(plain) + b"\n\n"


class _Forms(ABC):
    """Answers as one of the two forms has them; counts tokens on the way."""

    prefix: str
    object: str
    chunk: str

    def __init__(self, asked: Asked, request_id: str) -> None:
        self.asked = asked
        self._id, self._created = request_id or f"{self.prefix}-{uuid.uuid4().hex}", int(time.time())
        self._prompts: dict[int, int] = {}
        self._written = 0

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self.asked.model}

    def _usage(self) -> dict[str, int]:
        prompt = sum(self._prompts.values())
        return {
            "prompt_tokens": prompt, "completion_tokens": self._written, "total_tokens": prompt + self._written,
        }  # fmt: skip

    def _count(self, place: int, piece: Piece) -> None:
        self._prompts[place] = piece.prompt_tokens
        self._written += piece.tokens

    @property
    def answers(self) -> int:
        return sum(ask.n for ask in self.asked.asks)

    def begin(self) -> Iterator[dict[str, Any]]:
        """Events before the first part."""
        return iter(())

    def part(self, place: int, piece: Piece) -> dict[str, Any]:
        """The event of a piece."""
        self._count(place, piece)
        return self._chunk([self._part(piece)])

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._head(self.chunk), "choices": choices, **({"usage": None} if self.asked.usage else {})}

    def counts(self) -> dict[str, Any]:
        """The event with the counts of tokens."""
        return {**self._head(self.chunk), "choices": [], "usage": self._usage()}

    def whole(self, numbered: Sequence[tuple[int, Piece]]) -> dict[str, Any]:
        """The answer in one."""
        parts: dict[int, list[Piece]] = {index: [] for index in range(self.answers)}
        for place, piece in numbered:
            self._count(place, piece)
            parts[piece.index].append(piece)
        choices = [self._whole(index, pieces) for index, pieces in parts.items()]
        return {**self._head(self.object), "choices": choices, "usage": self._usage()}

    @abstractmethod
    def _part(self, piece: Piece) -> dict[str, Any]:
        """A choice of an event."""

    @abstractmethod
    def _whole(self, index: int, pieces: Sequence[Piece]) -> dict[str, Any]:
        """A choice of an answer in one."""


class _Chat(_Forms):
    prefix, object, chunk = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def begin(self) -> Iterator[dict[str, Any]]:
        for index in range(self.answers):
            delta = {"role": "assistant", "content": "", "refusal": None}
            yield self._chunk([{"index": index, "delta": delta, "logprobs": None, "finish_reason": None}])

    def _part(self, piece: Piece) -> dict[str, Any]:
        delta = {"content": piece.text} if piece.text or not piece.finish else {}
        return {
            "index": piece.index, "delta": delta, "logprobs": _content(piece.scores),
            "finish_reason": piece.finish or None,
        }  # fmt: skip

    def _whole(self, index: int, pieces: Sequence[Piece]) -> dict[str, Any]:
        message = {"role": "assistant", "content": "".join(piece.text for piece in pieces), "refusal": None}
        scores = [score for piece in pieces for score in piece.scores]
        return {
            "index": index, "message": message, "logprobs": _content(scores), "finish_reason": pieces[-1].finish,
        }  # fmt: skip


def _content(scores: Sequence[Scored]) -> dict[str, Any] | None:
    if not scores:
        return None
    return {
        "content": [{**_score(one), "top_logprobs": [_score(other) for other in one.top]} for one in scores],
        "refusal": None,
    }


def _score(one: Scored) -> dict[str, Any]:
    return {"token": one.text, "bytes": list(one.data), "logprob": one.logprob}


class _Completions(_Forms):
    prefix, object, chunk = "cmpl", "text_completion", "text_completion"

    def __init__(self, asked: Asked, request_id: str) -> None:
        super().__init__(asked, request_id)
        self._offsets: dict[int, int] = {}

    def _part(self, piece: Piece) -> dict[str, Any]:
        return self._choice(piece.index, piece.text, piece.scores, piece.finish)

    def _whole(self, index: int, pieces: Sequence[Piece]) -> dict[str, Any]:
        scores = [score for piece in pieces for score in piece.scores]
        return self._choice(index, "".join(piece.text for piece in pieces), scores, pieces[-1].finish)

    def _choice(self, index: int, text: str, scores: Sequence[Scored], finish: str) -> dict[str, Any]:
        return {
            "index": index, "text": text, "logprobs": self._legacy(index, scores), "finish_reason": finish or None,
        }  # fmt: skip

    def _legacy(self, index: int, scores: Sequence[Scored]) -> dict[str, Any] | None:
        """Log-probabilities as completions have them; offsets in characters of the tokens' texts."""
        if not scores:
            return None
        offsets, at = [], self._offsets.get(index, 0)
        for one in scores:
            offsets.append(at)
            at += len(one.text)
        self._offsets[index] = at
        return {
            "tokens": [one.text for one in scores], "token_logprobs": [one.logprob for one in scores],
            "top_logprobs": [{other.text: other.logprob for other in one.top} for one in scores],
            "text_offset": offsets,
        }  # fmt: skip


def routes(engines: Engines, prefix: str = "/v1") -> list[Route]:
    """Starlette's routes of the API. A client that goes away frees its slots, whether it streams or waits."""
    from weigh.server.openai_routes import from_engines, made

    return made(engines.cards, from_engines(engines), prefix)
