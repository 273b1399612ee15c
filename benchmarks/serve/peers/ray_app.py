"""Ray Serve alone: one replica behind one proxy, on a Ray of its own."""

from __future__ import annotations

import signal
import sys

import _session
import ray
from ray import serve
from ray.serve.schema import LoggingConfig
from starlette.requests import Request
from starlette.responses import JSONResponse


@serve.deployment(num_replicas=1, max_ongoing_requests=128, ray_actor_options={"num_cpus": 1})
class Net:
    """The net."""

    def __init__(self) -> None:
        self.session = _session.opened()

    async def __call__(self, request: Request) -> JSONResponse:
        return JSONResponse(_session.answered(self.session, await request.json()))


if __name__ == "__main__":
    quiet = LoggingConfig(enable_access_log=False, log_level="WARNING")
    ray.init(
        num_cpus=2, include_dashboard=False, object_store_memory=200_000_000, log_to_driver=False,
        _system_config={"health_check_timeout_ms": 60_000, "health_check_failure_threshold": 20},
    )  # fmt: skip
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])}, logging_config=quiet)
    serve.run(Net.options(logging_config=quiet).bind(), name="net", route_prefix="/infer")
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    ray.shutdown()
