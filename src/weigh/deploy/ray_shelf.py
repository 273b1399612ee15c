"""Many models in the same replicas: each keeps those that it was asked for last, and loads others as they come.

For models that are many and seldom asked for, which would each hold a replica of their own. Ray's proxies send a
request to a replica that has its model already, where the client names it in the header `serve_multiplexed_model_id`.
Import path: ``weigh.deploy.ray_shelf:build``.

Source: Ray Serve documentation, Model Multiplexing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from weigh.choice import Frozen
from weigh.deploy.ray_app import PATIENT

if TYPE_CHECKING:
    from ray.serve import Application

    from weigh.server.model import Model

MODELS = "/v2/models/"
OF_KINDS = (".onnx", ".pt2")


class Arguments(Frozen):
    """What `build` is told."""

    folder: Path = Field(description="where models lie, NAME.onnx or NAME.pt2, for every node alike")
    kept: int = Field(4, ge=1, description="models that a replica keeps; the one asked for longest ago goes")
    threads: int = Field(1, ge=1, description="threads of one run of a model")
    replicas: int = Field(1, ge=1, description="replicas")
    cpus: float = Field(1.0, ge=0, description="that Ray sets aside for a replica")
    max_body: int = Field(16_000_000, ge=1, description="greatest body of a request, in bytes")


class Shelf:
    """One replica: an ASGI app that infers with the model that a path names."""

    def __init__(self, told: dict[str, Any]) -> None:
        from ray import serve

        self._told = Arguments.model_validate(told)
        names = {path.stem: path for path in self._told.folder.iterdir() if path.suffix in OF_KINDS}
        self._names, threads = names, self._told.threads

        async def load(name: str) -> Model:
            from weigh.server.model import open_model

            return open_model(names[name], threads=threads)

        wrap: Any = serve.multiplexed(max_num_models_per_replica=self._told.kept)
        self._model: Callable[[str], Awaitable[Model]] = wrap(load)

    def __serve_build_asgi_app__(self) -> Callable[..., Awaitable[None]]:
        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # uvicorn knows a method for ASGI 2
            await self._serve(scope, receive, send)

        return app

    async def _serve(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        status, kind, body, more = await self._answered(scope, receive)
        head = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *more]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": body})

    async def _answered(
        self, scope: dict[str, Any], receive: Any
    ) -> tuple[int, bytes, bytes, list[tuple[bytes, bytes]]]:
        """Status, content type, body and more of the head."""
        from weigh.server import tensors
        from weigh.server.arms import Door

        kind = b"application/json"
        name, _, what = scope["path"].removeprefix(MODELS).partition("/")
        if scope["path"] in ("/v2/health/ready", "/v2/health/live"):
            return 200, kind, b'{"ready":true}', []
        if name not in self._names:  # names are those of the folder: no path of a request reaches the file system
            return 404, kind, _error(f"there is no model {name[:64]!r}"), []
        model = await self._model(name)
        if scope["method"] == "GET" and not what:
            return 200, kind, _json(Door.of(model).metadata(name, [model.version])), []
        if scope["method"] != "POST" or what != "infer":
            return 404, kind, _error("POST /v2/models/NAME/infer, or GET /v2/models/NAME"), []
        body = await _body(receive, self._told.max_body)
        if body is None:
            return 413, kind, _error(f"a body has at most {self._told.max_body} bytes"), []
        heads = dict(scope["headers"])
        size = heads.get(b"inference-header-content-length", b"")
        try:
            asked = tensors.read(body, int(size) if size.isdigit() else None, model.inputs, model.outputs)
        except tensors.BadRequest as error:
            return 400, kind, _error(str(error)), []
        made = tensors.write(asked, model.run(asked.inputs), model.outputs, name, model.version)
        if made.header is None:
            return 200, kind, made.body, []
        return 200, b"application/octet-stream", made.body, [
            (b"inference-header-content-length", b"%d" % made.header)
        ]  # fmt: skip


def _json(value: Any) -> bytes:
    import orjson

    return orjson.dumps(value)


def _error(text: str) -> bytes:
    return _json({"error": text})


async def _body(receive: Any, most: int) -> bytes | None:
    """The whole body; None where it is too large."""
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            return None
        parts.append(part)
        more = bool(message.get("more_body"))
    return b"".join(parts)


async def _lifespan(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


def build(args: dict[str, Any]) -> Application:
    """The application, for ``serve run weigh.deploy.ray_shelf:build folder=...`` and for RayService."""
    from ray import serve

    told = Arguments.model_validate(args)
    made: Any = serve.deployment(
        serve.ingress()(Shelf), name="Shelf", num_replicas=told.replicas, ray_actor_options={"num_cpus": told.cpus},
        **PATIENT,
    )  # fmt: skip
    bound: Application = made.bind(told.model_dump(mode="json"))
    return bound
