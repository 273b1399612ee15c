"""The server as an application of Ray Serve: the same ASGI app in every replica, behind Ray's proxies.

``weigh.deploy.ray_app:build`` is the import path of a RayService and of ``serve run``. Who serves, and the share of a
challenger, stand in `user_config`: replicas are told without being started anew, and since units are assigned by their
id alone, the same user meets the same arm whichever replica answers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from weigh.choice import Frozen
from weigh.server.routing import Routing, Served

if TYPE_CHECKING:
    from ray.serve import Application

    from weigh.server.app import App

DEPLOYMENT = "Server"
PATIENT: dict[str, Any] = {"health_check_period_s": 30.0, "health_check_timeout_s": 120.0}
"""Ray's own time-outs of health checks kill replicas of a busy machine."""


class Arguments(Frozen):
    """What `build` is told.

    A number of replicas that follows the load is given by `most_replicas`.
    """

    model: str = Field(description="the model that is served: a path that every node can read, or an MLflow URI")
    architecture: str = Field("", description="FILE:FUNCTION, what builds a net for weights alone")
    name: str = Field("model", description="what clients call the model")
    state: Path = Field(Path("/tmp/weigh-serve"), description="folder of logs and token, on each node its own")
    threads: int = Field(1, ge=1, description="threads of one run of the model")
    batching: str = Field("single", description="an option of serve/batching")
    replicas: int = Field(1, ge=1, description="replicas; the fewest where `most_replicas` is more")
    most_replicas: int = Field(0, ge=0, description="replicas that load may call for; 0: always `replicas`")
    target_requests: float = Field(8.0, gt=0, description="requests under way in a replica that call for another one")
    cpus: float = Field(1.0, ge=0, description="that Ray sets aside for a replica")
    max_requests: int = Field(256, ge=1, description="requests under way in a replica; more wait at the proxy")

    def scaling(self) -> dict[str, Any]:
        """As Ray Serve takes it: a number, or a range with its target."""
        if self.most_replicas <= self.replicas:
            return {"num_replicas": self.replicas}
        bounds = {"min_replicas": self.replicas, "max_replicas": self.most_replicas}
        return {"autoscaling_config": {**bounds, "target_ongoing_requests": self.target_requests}}

    def routing(self) -> Routing:
        """The model alone."""
        return Routing(champion=Served(path=self.model, architecture=self.architecture))


class Server:
    """One replica: weigh's ASGI app, with a folder of its own."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._told = Arguments.model_validate(told)
        self._wanted = self._told.routing()
        self._app: App | None = None

    def __serve_build_asgi_app__(self) -> App:
        from ray import serve

        from weigh.server.app import App
        from weigh.server.placing import placed
        from weigh.server.run import token_of
        from weigh.server.settings import ServerSettings

        own = self._told.state / serve.get_replica_context().replica_id.unique_id
        settings = ServerSettings(
            model=self._told.model, architecture=self._told.architecture, name=self._told.name, state=own,
            threads=self._told.threads, batching=self._told.batching,
        )  # fmt: skip
        own.mkdir(parents=True, exist_ok=True)
        self._app = App(settings, placed(settings, self._wanted.champion), self._wanted, token_of(self._told.state))
        return self._app

    async def reconfigure(self, wanted: dict[str, Any]) -> None:
        """Take up another routing: what is new is loaded, then requests go there, then the old one ends."""
        self._wanted = Routing.model_validate(wanted)
        if self._app is not None and hasattr(self._app, "router"):
            await self._app.router.become(self._wanted)

    async def check_health(self) -> None:
        """Raises where the champion does not answer."""
        if self._app is not None and hasattr(self._app, "router") and not self._app.router.champion.up:
            raise RuntimeError("the champion is down")


def build(args: dict[str, Any]) -> Application:
    """The application, for ``serve run weigh.deploy.ray_app:build model=...`` and for RayService.

    Args:
        args: the fields of `Arguments`.
    """
    told = Arguments.model_validate(args)
    return application(told, told.routing())


def application(told: Arguments, routing: Routing) -> Application:
    """The application with a routing."""
    from ray import serve

    made: Any = serve.deployment(
        serve.ingress()(Server), name=DEPLOYMENT, user_config=routing.model_dump(mode="json"),
        max_ongoing_requests=told.max_requests, ray_actor_options={"num_cpus": told.cpus},
        graceful_shutdown_timeout_s=30.0, **told.scaling(), **PATIENT,
    )  # fmt: skip
    bound: Application = made.bind(told.model_dump(mode="json"))
    return bound
