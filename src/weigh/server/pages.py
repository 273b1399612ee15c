"""Everything but inference on tensors: health, metadata, metrics, feedback, what administrators do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from weigh.server.arms import Arm
from weigh.server.document import document
from weigh.server.entrance import Head, Refused

if TYPE_CHECKING:
    from weigh.server.app import App

EXTENSIONS = ["binary_tensor_data"]
FEEDBACK_MOST = 10_000
"""Entries of one call."""


def reply(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON."""
    return Response(orjson.dumps(value), status, headers, "application/json")


def pages(app: App) -> Starlette:
    """The routes beside inference."""
    from importlib.metadata import version

    from weigh.server.admin import admin
    from weigh.server.texts import texts

    name = app.settings.name

    def known(request: Request) -> Arm:
        """The arm that a path names, the champion where it names no version."""
        router, wanted = app.router, request.path_params.get("version", "")
        if request.path_params["model"] != name:
            raise HTTPException(404, f"there is no model {request.path_params['model'][:64]!r}; this is {name!r}")
        for arm in router.arms():
            if not wanted or arm.version == wanted:
                return arm
        raise HTTPException(404, f"there is no version {wanted[:64]!r} of {name!r}")

    async def live(request: Request) -> Response:
        return reply({"live": True})

    async def ready(request: Request) -> Response:
        up = app.router.champion.up
        return reply({"ready": up}, 200 if up else 503)

    async def about(request: Request) -> Response:
        return reply({"name": "weigh", "version": version("weigh"), "extensions": EXTENSIONS})

    async def model(request: Request) -> Response:
        arm = known(request)
        assert arm.door is not None
        versions = list(dict.fromkeys(one.version for one in app.router.arms() if one.version))
        return reply(arm.door.metadata(name, versions))

    async def model_ready(request: Request) -> Response:
        up = known(request).up
        return reply({"name": name, "ready": up}, 200 if up else 503)

    async def infer(request: Request) -> Response:
        arm = known(request)
        return _Inference(app, arm.version if "version" in request.path_params else "")

    async def metrics(request: Request) -> Response:
        return Response(app.metrics.page(app.router), media_type="text/plain; version=0.0.4")

    async def openapi(request: Request) -> Response:
        return reply(document(app))

    async def feedback(request: Request) -> Response:
        head = Head(request.scope["headers"], b"")
        if app.settings.private:
            app.entrance.need_token(head.bearer)
        return reply({"kept": kept(app, await app.entrance.body(head, request.receive))})

    routes = [
        Route("/v2", about), Route("/v2/health/live", live), Route("/v2/health/ready", ready),
        Route("/v2/models/{model}", model), Route("/v2/models/{model}/ready", model_ready),
        Route("/v2/models/{model}/versions/{version}", model),
        Route("/v2/models/{model}/versions/{version}/ready", model_ready),
        Route("/v2/models/{model}/infer", infer, methods=["POST"]),
        Route("/v2/models/{model}/versions/{version}/infer", infer, methods=["POST"]),
        Route("/feedback", feedback, methods=["POST"]), Route("/metrics", metrics), Route("/openapi.json", openapi),
        *texts(app), *admin(app),
    ]  # fmt: skip
    return Starlette(routes=routes, exception_handlers=HANDLERS)


async def refused(request: Request, error: Exception) -> Response:
    """A refusal in JSON."""
    assert isinstance(error, Refused)
    return reply({"error": error.why}, error.status, {a.decode(): b.decode() for a, b in error.headers})


async def unknown(request: Request, error: Exception) -> Response:
    """A status that Starlette raised, in JSON."""
    assert isinstance(error, HTTPException)
    return reply({"error": error.detail}, error.status_code, dict(error.headers or {}))


HANDLERS: Any = {Refused: refused, HTTPException: unknown}


class _Inference(Response):
    """Hands a request on to the app's own path."""

    def __init__(self, app: App, version: str) -> None:
        self._app, self._version = app, version
        self.background = None

    async def __call__(
        self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        await self._app.infer(scope, receive, send, self._version)


def kept(app: App, body: bytes) -> int:
    """Keep what came of earlier answers; how many entries there were.

    Raises:
        HTTPException: they are none, or the disk refuses.
    """
    entries = _feedback(body)
    found = sum(app.router.feedback.write(entry) for entry in entries)
    if found < len(entries):
        raise HTTPException(507, f"{found} of {len(entries)} entries were kept: the disk refuses; send the rest again")
    return found


def _feedback(body: bytes) -> list[dict[str, Any]]:
    """Entries of feedback, read and checked.

    Raises:
        HTTPException: they are none.
    """
    import math
    import time

    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise HTTPException(400, f"the body is no JSON: {error}") from None
    entries = told if isinstance(told, list) else [told]
    if len(entries) > FEEDBACK_MOST:
        raise HTTPException(413, f"{len(entries)} entries at once; send at most {FEEDBACK_MOST}")
    found = []
    for one in entries:
        values = one.get("values") if isinstance(one, dict) else None
        request = one.get("id") if isinstance(one, dict) else None
        if not isinstance(request, str) or not 0 < len(request) <= 256 or not isinstance(values, dict) or not values:
            raise HTTPException(
                400, 'send {"id": REQUEST ID, "values": {"NAME": NUMBER}}, or a list of them; the id is the answer\'s '
                "x-request-id",
            )  # fmt: skip
        for key, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise HTTPException(400, f"the value of {key[:64]!r} is no finite number")
        found.append({"id": request, "m": time.monotonic_ns(), "t": time.time_ns(), "values": values})
    return found
