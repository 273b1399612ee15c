"""Runs the application on a cluster, or on Ray started here: `python -m weigh.deploy.ray_driver`, told by JSON lines.

The first line has `args` (see `weigh.deploy.ray_app.Arguments`), `port`, `address` of the cluster (``local``: Ray is
started here), and `routing` where it is not the model alone. Each further line is a routing. It answers each with a
line, and ends with its standard input.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any

from weigh.deploy.ray_app import Arguments, application
from weigh.server.routing import Routing

STORE = 100 * 2**20
"""Bytes of Ray's object store: requests are small."""


def _begin(address: str, host: str, port: int) -> None:
    import ray
    from ray import serve

    here = address == "local"
    more: dict[str, Any] = {"object_store_memory": STORE, "include_dashboard": False} if here else {}
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **more)
    serve.start(http_options={"host": host, "port": port})


def main() -> None:
    """Serve until standard input ends."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Ray prints is no answer
    first = json.loads(sys.stdin.readline())
    told = Arguments.model_validate(first["args"])
    app = f"weigh-{told.name}"
    from ray import serve

    _begin(first["address"], first.get("host", "127.0.0.1"), first["port"])
    try:
        routing = Routing.model_validate(first["routing"]) if "routing" in first else told.routing()
        while True:
            try:
                serve.run(application(told, routing), name=app, route_prefix="/", _local_testing_mode=False)
                answer: dict[str, Any] = {"revision": routing.revision}
            except Exception as error:  # of replicas, of any kind
                answer = {"error": _why(app) or f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"}
            print(json.dumps(answer), file=out, flush=True)
            line = sys.stdin.readline()
            if not line:
                return
            routing = Routing.model_validate_json(line)
    finally:
        serve.delete(app)
        _end(first["address"])


def _why(app: str) -> str:
    """The last line of what a replica said when it could not start; empty where none said anything."""
    from ray import serve

    found = serve.status().applications.get(app)
    said = [one.message for one in found.deployments.values()] if found else []
    lines = [line.strip() for text in said for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "Error: " in line]
    return (errors or lines or [""])[-1][:600]


def _end(address: str) -> None:
    import ray
    from ray import serve

    if address == "local":
        serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
