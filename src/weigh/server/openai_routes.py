"""The API as routes of Starlette."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from weigh.server import openai
from weigh.server.openai_read import ApiError, Asked, read_chat, read_completions

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route


Read: TypeAlias = Callable[[bytes], Asked]


Taken: TypeAlias = "Callable[[Request], Coroutine[Any, Any, bytes]]"


class Served(Protocol):
    """Answers a request of the API."""

    def __call__(self, request: Request, body: bytes, read: Read) -> Coroutine[Any, Any, openai.Reply]:
        """Read the body, and answer."""


def made(
    cards: Callable[[], Sequence[openai.Card]], served: Served, prefix: str, taken: Taken | None = None
) -> list[Route]:
    """The routes.

    Args:
        cards: the models that there are now.
        served: reads a request with the reader that it is given, and answers it.
        taken: gives the body of a request, or raises `ApiError`; all of it, whatever its size, when None.
    """
    from starlette.routing import Route

    async def posted(request: Request, read: Read) -> Response:
        try:
            body = await (taken(request) if taken is not None else request.body())
        except ApiError as error:
            return _response(openai.failed(error))
        return await _unless_gone(request, body, read, served)

    async def chat(request: Request) -> Response:
        return await posted(request, read_chat)

    async def completions(request: Request) -> Response:
        return await posted(request, read_completions)

    async def models(request: Request) -> Response:
        return _response(openai.models(cards()))

    async def model(request: Request) -> Response:
        return _response(openai.model(cards(), request.path_params["name"]))

    return [
        Route(f"{prefix}/chat/completions", chat, methods=["POST"]),
        Route(f"{prefix}/completions", completions, methods=["POST"]),
        Route(f"{prefix}/models", models, methods=["GET"]),
        Route(prefix + "/models/{name:path}", model, methods=["GET"]),
    ]


def from_engines(engines: openai.Engines) -> Served:
    """Serves whatever engines there are."""

    async def served(request: Request, body: bytes, read: Read) -> openai.Reply:
        try:
            asked = read(body)
            try:
                engine = await engines.engine(asked.model, asked.unit)
            except KeyError:
                raise openai.no_model(engines.cards(), asked.model) from None
        except ApiError as error:
            return openai.failed(error)
        return await openai.reply(asked, engine)

    return served


async def _unless_gone(request: Request, body: bytes, read: Read, served: Served) -> Response:
    """The answer, unless the client goes away before."""
    from starlette.responses import Response

    task = asyncio.ensure_future(served(request, body, read))
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return Response(status_code=openai.GONE)
        return _response(task.result())
    finally:
        for one in (task, gone):
            one.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue


def _response(reply: openai.Reply) -> Response:
    from starlette.responses import Response

    if isinstance(reply.body, bytes):
        return Response(reply.body, reply.status, dict(reply.headers))
    return _streaming()(reply.body, reply.status, dict(reply.headers))


def _streaming() -> Any:
    """Starlette's streaming response, which also closes what it streams: a client that went away must free its slot."""
    from starlette.responses import StreamingResponse

    class Closing(StreamingResponse):
        def __init__(self, body: openai.Closable, status: int, headers: dict[str, str]) -> None:
            super().__init__(body, status, headers)
            self._body = body

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            try:
                await super().__call__(scope, receive, send)
            finally:
                await self._body.aclose()

    return Closing
