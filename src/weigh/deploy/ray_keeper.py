"""`weigh serve --platform ray`: an application on a cluster, and its rollouts, conducted from the replicas' logs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

from weigh.choice import UsageError
from weigh.deploy.ray_app import Arguments
from weigh.server.arms import Failed
from weigh.server.entrance import Entrance
from weigh.server.routing import Routing

if TYPE_CHECKING:
    from weigh.serve.platform._process import Program
    from weigh.server.settings import ServerSettings

DRIVER = "weigh.deploy.ray_driver"
SECONDS = 600.0
"""That replicas have to load a model."""


@final
class RayKeeper:
    """An application on a cluster for as long as this process runs.

    Args:
        address: of the cluster, HOST:PORT; ``local``: Ray is started on this machine.
        told: of the application.
        tell: is called with lines for people.
    """

    def __init__(self, settings: ServerSettings, told: Arguments, address: str, tell: Callable[[str], None]) -> None:
        self.settings, self._told, self._address, self._tell = settings, told, address, tell
        self._stopping = False

    def run(self) -> int:
        """Serve until told to stop; the exit status.

        Raises:
            UsageError: Ray Serve is not there, the address is taken, or the model cannot be served.
        """
        from weigh.server.router import started
        from weigh.server.run import owning, token_of

        with owning(self.settings.state):
            now, token = started(self.settings), token_of(self.settings.state)
            program = self._begun()
            try:
                cluster = Cluster(self.settings, token, program, now)
                cluster.push({"args": self._arguments(), "port": self.settings.port, "host": self.settings.host,
                              "address": self._address, "routing": now.model_dump(mode="json")})  # fmt: skip
                return self._administered(cluster)
            finally:
                (self.settings.state / "server.json").unlink(missing_ok=True)
                program.close()

    def _arguments(self) -> dict[str, Any]:
        return self._told.model_dump(mode="json")

    def _begun(self) -> Program:
        from weigh.serve.platform._environment import python_of
        from weigh.serve.platform._process import Program

        here = self._address == "local"
        more = {"RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "disabled"), "RAY_USAGE_STATS_ENABLED": "0"}
        words = [str(python_of("ray")), "-m", DRIVER]
        return Program(words, self.settings.state / "ray.log", more if here else {}, "Ray Serve", answers=True)

    def _administered(self, cluster: Cluster) -> int:
        """Answer admin calls on a port of their own, and conduct."""
        import socket

        import uvicorn
        from starlette.applications import Starlette

        from weigh.server.admin import admin
        from weigh.server.conductor import Source
        from weigh.server.pages import HANDLERS
        from weigh.server.run import url_of
        from weigh.server.watch import conduct

        bound = socket.create_server(("127.0.0.1", 0))
        url = url_of(bound)
        self._known(url)
        where = f"http://{self.settings.host}:{self.settings.port}/v2/models/{self.settings.name}"
        self._tell(f"{self.settings.name} is served by Ray at {where}; administration at {url}")
        app = Starlette(routes=admin(cluster), exception_handlers=HANDLERS)
        watcher = threading.Thread(
            target=conduct,
            daemon=True,
            args=(self.settings, url, self._tell, lambda: self._stopping, Source(self.settings.state, "t")),
        )
        watcher.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)  # uvicorn stops at it, and then raises it again
        config = uvicorn.Config(app, ws="none", lifespan="off", access_log=False, log_level="warning")
        uvicorn.Server(config).run(sockets=[bound])
        self._stopping = True
        return 0

    def _known(self, url: str) -> None:
        from weigh.data.cache import replacing

        told = {"url": url, "pid": os.getpid(), "name": self.settings.name, "traffic": self.settings.port}
        with replacing(self.settings.state / "server.json") as temporary:
            temporary.write_text(json.dumps(told), encoding="utf-8")


@final
class Cluster:
    """The replicas, as administration sees them."""

    def __init__(self, settings: ServerSettings, token: str, program: Program, now: Routing) -> None:
        self.settings, self.entrance, self.now = settings, Entrance(settings, token), now
        self._program = program

    @property
    def router(self) -> Cluster:
        """Who serves: the replicas, all alike."""
        return self

    def push(self, line: dict[str, Any]) -> None:
        """Tell the driver something.

        Raises:
            UsageError: the replicas cannot serve so.
        """
        try:
            answer = json.loads(self._program.ask(json.dumps(line), SECONDS))
        except RuntimeError as error:
            raise UsageError(str(error)) from None
        if "error" in answer:
            raise UsageError(f"Ray Serve cannot serve so: {answer['error']}")

    async def become(self, wanted: Routing) -> None:
        """All replicas take up another routing.

        Raises:
            Failed: they cannot.
        """
        try:
            await asyncio.to_thread(self.push, wanted.model_dump(mode="json"))
        except UsageError as error:
            raise Failed(str(error)) from None
        self.now = wanted

    def state(self) -> dict[str, Any]:
        """What is known of the replicas from here; their own /metrics have the rest."""
        challenge = self.now.challenge
        paths = {"champion": self.now.champion.path} | ({"canary": challenge.challenger.path} if challenge else {})
        return {"arms": [{"arm": arm, "path": path} for arm, path in paths.items()], "lost": 0, "trouble": ""}
