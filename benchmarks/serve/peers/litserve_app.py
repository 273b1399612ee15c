"""LitServe: one worker process behind one API server."""

from __future__ import annotations

import sys
from typing import Any

import _session
import litserve


class Net(litserve.LitAPI):
    """The net."""

    def setup(self, device: str) -> None:
        self.session = _session.opened()

    def predict(self, x: dict[str, Any]) -> dict[str, Any]:
        return _session.answered(self.session, x)


if __name__ == "__main__":
    api = Net(api_path="/v2/models/net/infer")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, fast_queue="fast" in sys.argv)
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, log_level="warning", generate_client_file=False,
        access_log=False,
    )  # fmt: skip
