"""What administrators do: who serves, another champion, rollouts. Every call bears the token."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, final

import orjson
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from weigh.model.registry import pinned
from weigh.rollout.plan import RolloutPlan
from weigh.server import rollouts
from weigh.server import routing as files
from weigh.server.arms import Failed
from weigh.server.entrance import Entrance, Head
from weigh.server.routing import Routing, Served

if TYPE_CHECKING:
    from weigh.server.settings import ServerSettings


class Ruled(Protocol):
    """What is administered: a server, or a cluster of them."""

    @property
    def settings(self) -> ServerSettings: ...

    @property
    def entrance(self) -> Entrance: ...

    @property
    def router(self) -> Arms: ...


class Arms(Protocol):
    """Who serves there."""

    @property
    def now(self) -> Routing: ...

    def state(self) -> dict[str, Any]:
        """How the arms are."""

    async def become(self, wanted: Routing) -> None:
        """Serve so. Raises `Failed` where that cannot be."""


def admin(app: Ruled) -> list[Route]:
    """The routes under /admin."""
    made = Administration(app)
    return [
        Route("/admin/status", made.only({"GET": made.status}), methods=["GET"]),
        Route("/admin/champion", made.only({"PUT": made.swap}), methods=["PUT"]),
        Route(
            "/admin/rollout", made.only({"GET": made.standing, "POST": made.start, "DELETE": made.abort}),
            methods=["GET", "POST", "DELETE"],
        ),
    ]  # fmt: skip


@final
class Administration:
    """What calls under /admin do; each gets the body of its call."""

    def __init__(self, app: Ruled) -> None:
        self._app, self._settings = app, app.settings

    def only(
        self, deeds: dict[str, Callable[[bytes], Awaitable[Any]]]
    ) -> Callable[[Request], Awaitable[Response]]:  # fmt: skip
        """An endpoint that does what the method says, for whoever bears the token."""

        async def endpoint(request: Request) -> Response:
            head = Head(request.scope["headers"], b"")
            self._app.entrance.need_token(head.bearer)
            body = await self._app.entrance.body(head, request.receive)
            return Response(orjson.dumps(await deeds[request.method](body)), media_type="application/json")

        return endpoint

    async def status(self, body: bytes) -> dict[str, Any]:
        """Who serves, and how it goes."""
        router = self._app.router
        told = {"name": self._settings.name, "routing": router.now.model_dump(mode="json"), "pid": os.getpid()}
        return told | router.state()

    async def swap(self, body: bytes) -> dict[str, Any]:
        """Another champion, without a gap."""
        try:
            served = _pinned(Served.model_validate(_object(body)))
        except ValueError as error:
            raise HTTPException(400, f'send {{"path": PATH OF THE MODEL}}: {_words(error)}') from None
        with self._changing() as (now, change):
            if now.challenge is not None:
                raise HTTPException(409, "a rollout is under way: `weigh rollout abort` first")
            wanted = now.model_copy(update={"champion": served})
            await self._become(wanted)
            await self._written(change, wanted, now)
        return {"arms": self._app.router.state()["arms"]}

    async def start(self, body: bytes) -> dict[str, Any]:
        """Begin a rollout."""
        try:
            given = _object(body)
            challenger = _pinned(Served.model_validate(given["challenger"]))
            plan = RolloutPlan.parse(**given["plan"])
        except (LookupError, TypeError, ValueError) as error:
            form = 'send {"challenger": {"path": ...}, "plan": {...}}'
            raise HTTPException(400, f"{form}: {_words(error)}") from None
        with self._changing() as (now, change):
            if now.challenge is not None:
                raise HTTPException(409, f"rollout {now.challenge.id} is under way: `weigh rollout abort` ends it")
            rollout, wanted = rollouts.planned(self._settings, now, challenger, plan)
            rollouts.keep(self._settings, rollout)
            try:
                await self._become(wanted)
                await self._written(change, wanted, now)
            except HTTPException:
                shutil.rmtree(rollouts.folder_of(self._settings, rollout.id), ignore_errors=True)
                raise
        return {"id": rollout.id}

    async def standing(self, body: bytes) -> dict[str, Any]:
        """How the last rollout stands."""
        found = rollouts.latest(self._settings)
        if found is None:
            raise HTTPException(404, "there was no rollout yet: `weigh rollout start MODEL`")
        return rollouts.status_of(self._settings, found)

    async def abort(self, body: bytes) -> dict[str, Any]:
        """End the rollout that is under way."""
        with self._changing() as (now, change):
            if now.challenge is None:
                raise HTTPException(409, "no rollout is under way")
            wanted = now.model_copy(update={"challenge": None})
            await self._become(wanted)
            change(wanted)
            rollouts.over(self._settings, rollouts.read(self._settings, now.challenge.id), "aborted", "by hand")
        return {"aborted": now.challenge.id}

    async def _written(self, change: Callable[[Routing], None], wanted: Routing, before: Routing) -> None:
        """Write down who serves; where the disk refuses, all is as before."""
        try:
            change(wanted)
        except OSError as error:
            await self._become(before)
            raise HTTPException(507, f"it cannot be written down ({error.strerror}); nothing changed") from None

    async def _become(self, wanted: Routing) -> None:
        try:
            await self._app.router.become(wanted)
        except (Failed, OSError) as error:  # what a path leads to may be no file at all
            raise HTTPException(409, str(error)) from None

    @contextmanager
    def _changing(self) -> Iterator[tuple[Routing, Callable[[Routing], None]]]:
        """The routing, which is ours alone; where somebody else changes it the call is refused instead of waiting."""
        path = self._settings.routing
        try:
            with files.changing(path, wait=False) as change:
                yield files.read(path) or self._app.router.now, change
        except BlockingIOError:
            raise HTTPException(409, "somebody else changes who serves just now; try again") from None


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise HTTPException(400, f"the body is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise HTTPException(400, "the body is no object")
    return found


def _words(error: Exception) -> str:
    """What is wrong, in one line."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in error.errors())
    return f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else str(error)


def _pinned(served: Served) -> Served:
    """With the version that an alias of the registry names now, so that it cannot move under a rollout."""
    return served.model_copy(update={"path": pinned(served.path)})
