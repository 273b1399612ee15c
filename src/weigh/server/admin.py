"""What administrators do: who serves, another champion. Every call bears the token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from weigh.server import routing as files
from weigh.server.arms import Failed
from weigh.server.routing import Served

if TYPE_CHECKING:
    from weigh.server.app import App


def admin(app: App) -> list[Route]:
    """The routes under /admin."""
    from weigh.server.app import _Head
    from weigh.server.pages import reply

    async def told(request: Request) -> Any:
        """The body, once the call is known to bear the token."""
        head = _Head(request.scope["headers"], b"")
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
             "trouble": router.trouble, "lost": router.log.lost, "dropped": router.dropped}
        )  # fmt: skip

    async def swap(request: Request) -> Response:
        try:
            served = Served.model_validate(await told(request))
        except ValueError as error:
            raise HTTPException(400, f'send {{"path": PATH OF THE MODEL}}: {error}') from None
        router, path = app.router, app.settings.routing
        with files.changing(path) as change:
            now = files.read(path) or router.now
            if now.challenge is not None:
                raise HTTPException(409, "a rollout is under way: `weigh rollout abort` first")
            wanted = now.model_copy(update={"champion": served})
            try:
                await router.become(wanted)
            except Failed as error:
                raise HTTPException(422, str(error)) from None
            change(wanted)
        return reply({"version": router.champion.version})

    return [Route("/admin/status", status), Route("/admin/champion", swap, methods=["PUT"])]
