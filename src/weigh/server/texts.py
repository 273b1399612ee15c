"""OpenAI's API on the arms of a server: assigned, logged and shadowed as tensors are."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, final

from starlette.requests import Request
from starlette.routing import Route

from weigh.server import openai
from weigh.server.arms import ProcessArm
from weigh.server.entrance import Head, Refused
from weigh.server.language import About, Ask, Piece, TextEngine, TextError
from weigh.server.openai import Card, Reply
from weigh.server.openai_read import ApiError, Asked
from weigh.server.openai_routes import Read, made

if TYPE_CHECKING:
    from weigh.server.app import App
    from weigh.server.call import Call

PREFIXES = {"chat": "chatcmpl", "completions": "cmpl"}
FALLS_BACK = ("closed", "failed", "full", "late")


def texts(app: App) -> list[Route]:
    """The routes under /v1."""
    began = int(time.time())

    def cards() -> list[Card]:
        return [Card(app.settings.name, began)] if app.router.door.kind == "text" else []

    async def taken(request: Request) -> bytes:
        request.state.start = start = time.monotonic_ns()
        try:
            request.state.head = head = Head(request.scope["headers"], app.unit_header)
            if app.settings.private:
                app.entrance.need_token(head.bearer)
            body = await app.entrance.body(head, request.receive)
            request.state.start = time.monotonic_ns()  # what a client needs to send it is no time of ours
            return body
        except Refused as error:
            app.metrics.count("none", "", error.status, (time.monotonic_ns() - start) / 1e9)
            code = {401: "invalid_api_key"}.get(error.status)
            raise ApiError(error.status, error.why, None, code) from None

    async def served(request: Request, body: bytes, read: Read) -> Reply:
        head, start = request.state.head, request.state.start
        try:
            asked = read(body)
            if not cards() or asked.model != app.settings.name:
                raise openai.no_model(cards(), asked.model)
        except ApiError as error:
            app.metrics.count("none", "", error.status, (time.monotonic_ns() - start) / 1e9)
            return openai.failed(error)
        name = head.request or f"{PREFIXES[asked.kind]}-{app.drawn()}"
        return await _answered(app, app.call(name, head.unit or asked.unit, start, head.within), asked)

    return made(cards, served, "/v1", taken)


async def _answered(app: App, call: Call, asked: Asked) -> Reply:
    """What goes back; it is logged and counted before its end leaves."""
    engine = Assigned(app, call)
    reply = await openai.reply(asked, engine, call.id)
    headers = dict(reply.headers) | {name.decode(): value.decode() for name, value in call.headers()}
    if isinstance(reply.body, bytes):
        engine.note(reply.status)
        return replace(reply, headers=headers)
    return Reply(reply.status, _Noted(reply.body, engine), headers)


@final
class _Noted:
    """The same events; the last one leaves when the answer was logged, and one that nobody reads to its end is, too."""

    def __init__(self, events: openai.Closable, engine: Assigned) -> None:
        self._events, self._engine, self._noted = events, engine, False
        self._iterator = aiter(events)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        event = await anext(self._iterator)
        if event == openai.DONE:
            self._note(200)
        return event

    async def aclose(self) -> None:
        """Nobody reads on."""
        await self._events.aclose()
        self._note(500 if self._engine.error else openai.GONE)

    def _note(self, status: int) -> None:
        if not self._noted:
            self._noted = True
            self._engine.note(status)


@final
class Assigned(TextEngine):
    """The arm that a request was assigned to; the champion writes in place of a canary that cannot begin."""

    def __init__(self, app: App, call: Call) -> None:
        self._app, self._call = app, call
        self.by, self.error = call.arm, ""
        self._first = 0
        self._texts: dict[tuple[int, int], str] = {}
        self._asks: list[Ask] = []
        self._tokens = self._prompt = 0

    async def about(self) -> About:
        door = self.by.door
        assert door is not None and door.about is not None
        return About.of(door.about)

    async def write(self, ask: Ask) -> AsyncGenerator[Piece, None]:
        place = len(self._asks)
        self._asks.append(ask)
        champion = self._app.router.champion
        try:
            async with aclosing(self._from(self._call.arm, ask, place)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        except TextError as error:
            self.error = f"{error.code}: {error.message}" if error.code in FALLS_BACK else ""
            if self._call.arm is champion or error.code not in FALLS_BACK or self._begun(place):
                raise
        self.by = champion
        async with aclosing(self._from(champion, ask, place)) as pieces:
            async for piece in pieces:
                yield piece

    def _begun(self, place: int) -> bool:
        return any(known == place for known, _ in self._texts)

    async def _from(self, arm: Any, ask: Ask, place: int) -> AsyncGenerator[Piece, None]:
        assert isinstance(arm, ProcessArm)
        now, until = time.monotonic_ns(), self._call.until
        if arm is not self._app.router.champion:
            until = now + (until - now) // 2  # so that the champion can still answer in time
        async with aclosing(arm.write(ask, until)) as pieces:
            async for piece in pieces:
                self._first = self._first or time.monotonic_ns()
                key = (place, piece.index)
                self._texts[key] = self._texts.get(key, "") + piece.text
                self._tokens += piece.tokens
                self._prompt = max(self._prompt, piece.prompt_tokens)
                yield piece

    def note(self, status: int) -> None:
        """Log and count it, and give whoever is compared a copy."""
        call, app = self._call, self._app
        seen: dict[str, Any] = {"prompt_tokens": self._prompt, "tokens": self._tokens}
        if self._first:
            seen["ttft_ms"] = (self._first - call.start) / 1e6
        if app.settings.log_inputs:
            seen |= {"in": [ask.plain() for ask in self._asks], "out": list(self._texts.values())}
        app.note(call, status, self.error, self.by.name, seen)
        if status == 200 and not self.error and call.challenge is not None and len(self._asks) == 1:
            app.router.shadow_text(call, replace(self._asks[0], n=1), self._texts.get((0, 0), ""))
