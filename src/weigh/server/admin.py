"""What administrators do: who serves, another champion. Every call bears the token."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from weigh.model.registry import pinned
from weigh.rollout.plan import RolloutPlan
from weigh.server import rollouts
from weigh.server import routing as files
from weigh.server.arms import Failed
from weigh.server.routing import Routing, Served

if TYPE_CHECKING:
    from weigh.server.app import App


def admin(app: App) -> list[Route]:
    """The routes under /admin."""
    from weigh.server.app import Head
    from weigh.server.pages import reply

    async def told(request: Request) -> Any:
        """The body, once the call is known to bear the token."""
        head = Head(request.scope["headers"], b"")
        app.need_token(head.bearer)
        if request.method == "GET":
            return None
        try:
            found = orjson.loads(await app.body(head, request.receive))
        except orjson.JSONDecodeError as error:
            raise HTTPException(400, f"the body is no JSON: {error}") from None
        if not isinstance(found, dict):
            raise HTTPException(400, "the body is no object")
        return found

    async def status(request: Request) -> Response:
        await told(request)
        router = app.router
        arms = [
            {"arm": arm.name, "version": arm.version, "path": arm.served.path, "up": arm.up, "waiting": arm.waiting,
             "pid": getattr(arm, "pid", None)}
            for arm in router.arms()
        ]  # fmt: skip
        return reply(
            {"name": app.settings.name, "routing": router.now.model_dump(mode="json"), "arms": arms,
             "shares": {one.arm: one.high - one.low for one in router.cut}, "swaps": router.swaps,
             "trouble": router.trouble, "lost": router.log.lost, "dropped": router.dropped,
             "pid": os.getpid()}
        )  # fmt: skip

    async def swap(request: Request) -> Response:
        try:
            served = _pinned(Served.model_validate(await told(request)))
        except ValueError as error:
            raise HTTPException(400, f'send {{"path": PATH OF THE MODEL}}: {error}') from None
        router, path = app.router, app.settings.routing
        with changing_now(path) as change:
            now = files.read(path) or router.now
            if now.challenge is not None:
                raise HTTPException(409, "a rollout is under way: `weigh rollout abort` first")
            wanted = now.model_copy(update={"champion": served})
            try:
                await router.become(wanted)
            except Failed as error:
                raise HTTPException(409, str(error)) from None
            change(wanted)
        return reply({"version": router.champion.version})

    async def start(request: Request) -> Response:
        given = await told(request)
        try:
            challenger = _pinned(Served.model_validate(given["challenger"]))
            plan = RolloutPlan.parse(**given["plan"])
        except (LookupError, TypeError, ValueError) as error:
            raise HTTPException(400, f'send {{"challenger": {{"path": ...}}, "plan": {{...}}}}: {error}') from None
        router, path = app.router, app.settings.routing
        with changing_now(path) as change:
            now = files.read(path) or router.now
            if now.challenge is not None:
                raise HTTPException(409, f"rollout {now.challenge.id} is under way: `weigh rollout abort` ends it")
            rollout, wanted = rollouts.planned(app.settings, now, challenger, plan)
            try:
                await router.become(wanted)
            except Failed as error:
                raise HTTPException(409, str(error)) from None
            rollouts.keep(app.settings, rollout)
            change(wanted)
        return reply({"id": rollout.id})

    async def standing(request: Request) -> Response:
        await told(request)
        found = rollouts.latest(app.settings)
        if found is None:
            raise HTTPException(404, "there was no rollout yet: `weigh rollout start MODEL`")
        return reply(rollouts.status_of(app.settings, found))

    async def abort(request: Request) -> Response:
        head = Head(request.scope["headers"], b"")
        app.need_token(head.bearer)
        router, path = app.router, app.settings.routing
        with changing_now(path) as change:
            now = files.read(path) or router.now
            if now.challenge is None:
                raise HTTPException(409, "no rollout is under way")
            wanted = now.model_copy(update={"challenge": None})
            await router.become(wanted)
            change(wanted)
            rollouts.over(app.settings, rollouts.read(app.settings, now.challenge.id), "aborted", "by hand")
        return reply({"aborted": now.challenge.id})

    deeds = {"GET": standing, "POST": start, "DELETE": abort}

    async def rollout(request: Request) -> Response:
        return await deeds[request.method](request)

    return [
        Route("/admin/status", status), Route("/admin/champion", swap, methods=["PUT"]),
        Route("/admin/rollout", rollout, methods=list(deeds)),
    ]  # fmt: skip


def _pinned(served: Served) -> Served:
    """With the version that an alias of the registry names now, so that it cannot move under a rollout."""
    return served.model_copy(update={"path": pinned(served.path)})


@contextmanager
def changing_now(path: Path) -> Iterator[Callable[[Routing], None]]:
    """The routing file is ours alone; where somebody else changes it, the call is refused instead of waiting."""
    try:
        with files.changing(path, wait=False) as change:
            yield change
    except BlockingIOError:
        raise HTTPException(409, "somebody else changes who serves just now; try again") from None
