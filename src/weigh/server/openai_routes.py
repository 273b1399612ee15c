"""The API as routes of Starlette."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from weigh.server import openai
from weigh.server.openai_read import ApiError, Asked, read_chat, read_completions

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route


def made(engines: openai.Engines, prefix: str) -> list[Route]:
    """See `weigh.server.openai.routes`."""
    from starlette.routing import Route

    async def chat(request: Request) -> Response:
        return await _served(request, lambda: _answer(engines, read_chat, request))

    async def completions(request: Request) -> Response:
        return await _served(request, lambda: _answer(engines, read_completions, request))

    async def models(request: Request) -> Response:
        return _response(openai.models(engines.cards()))

    async def model(request: Request) -> Response:
        return _response(openai.model(engines.cards(), request.path_params["name"]))

    return [
        Route(f"{prefix}/chat/completions", chat, methods=["POST"]),
        Route(f"{prefix}/completions", completions, methods=["POST"]),
        Route(f"{prefix}/models", models, methods=["GET"]),
        Route(prefix + "/models/{name:path}", model, methods=["GET"]),
    ]


async def _answer(engines: openai.Engines, read: Callable[[bytes], Asked], request: Request) -> openai.Reply:
    try:
        asked = read(await request.body())
        try:
            engine = await engines.engine(asked.model, asked.unit)
        except KeyError:
            raise openai.no_model(engines.cards(), asked.model) from None
    except ApiError as error:
        return openai.failed(error)
    return await openai.reply(asked, engine)


async def _served(request: Request, answer: Callable[[], Awaitable[openai.Reply]]) -> Response:
    """The answer, unless the client goes away before."""
    from starlette.responses import Response

    await request.body()
    task = asyncio.ensure_future(answer())
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
        def __init__(self, body: openai.Events, status: int, headers: dict[str, str]) -> None:
            super().__init__(body, status, headers)
            self._body = body

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            try:
                await super().__call__(scope, receive, send)
            finally:
                await self._body.aclose()

    return Closing
