"""`weigh serve --platform ray` and a rollout over its replicas, for real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import numpy_helper

from weigh.serve.platform import Served, _v2
from weigh.serve.platform._ports import free_ports


@pytest.fixture(scope="module", autouse=True)
def _ray(need) -> None:
    need("ray")


def _alike(path: Path, to: Path) -> Path:
    """The same model with weights a little off, so that it is another one with the same answers."""
    model = onnx.load(path)
    for one in model.graph.initializer:
        if one.data_type == onnx.TensorProto.FLOAT:
            one.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(one) * (1 + 1e-6), one.name))
    onnx.save(model, to)
    return to


def test_a_release_ships_on_what_the_replicas_log(served: Served, tmp_path: Path) -> None:
    port, state = free_ports(1)[0], tmp_path / "state"
    server = subprocess.Popen(
        [sys.executable, "-m", "weigh", "serve", str(served.source.path), "--name", "net", "--platform", "ray",
         "--port", str(port), "--replicas", "2", "--state", str(state)],
        stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        told = _waited(lambda: json.loads((state / "server.json").read_text()), 180)
        token = (state / "token").read_text().strip()

        def admin(method: str, path: str, body: Any = None) -> Any:
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(
                told["url"] + path, data, {"authorization": f"Bearer {token}"}, method=method
            )
            with urllib.request.urlopen(request, timeout=300) as answer:
                return json.load(answer)

        challenger = _alike(served.source.path, tmp_path / "alike.onnx")
        plan = {"guardrails": ["error <= baseline + 0.2"], "stages": [0.5, 1.0], "least": 60}
        admin("POST", "/admin/rollout", {"challenger": {"path": str(challenger)}, "plan": plan})
        body, arms = _v2.body(served.example, [one.name for one in served.source.inputs]), {}
        url = f"http://127.0.0.1:{port}/v2/models/net/infer"
        number = 0
        while number < 4000:
            number += 1
            unit = f"u{number % 50}"
            request = urllib.request.Request(url, body, {"x-unit-id": unit, "content-type": "application/json"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                arms.setdefault(unit, set()).add(answer.headers["x-weigh-arm"])
            if number % 100 == 0 and admin("GET", "/admin/rollout")["rollout"]["end"]:
                break
        assert admin("GET", "/admin/rollout")["rollout"]["end"] == "shipped"
        assert {len(met - {"champion"}) for met in arms.values()} <= {0, 1}, "no unit met both canary and baseline"
        assert {arm for met in arms.values() for arm in met} >= {"canary", "baseline"}
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        assert server.wait(60) == 0


def _waited(what: Any, seconds: float) -> Any:
    end = time.monotonic() + seconds
    while True:
        try:
            return what()
        except (FileNotFoundError, ValueError):
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
