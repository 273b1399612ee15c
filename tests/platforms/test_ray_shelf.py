"""Many models in one replica of Ray Serve, of which it keeps those that it was asked for last, for real."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weigh.serve.platform import _v2
from weigh.serve.platform._bench import PlatformBench
from weigh.serve.platform._environment import python_of
from weigh.serve.platform._planted import write_toy
from weigh.serve.platform._ports import free_ports
from weigh.serve.platform._process import Program

RUN = """
import sys, ray
from ray import serve
from weigh.deploy.ray_shelf import build
ray.init(address="local", include_dashboard=False, object_store_memory=80 * 2**20, log_to_driver=False)
serve.start(http_options=dict(host="127.0.0.1", port=int(sys.argv[2])))
serve.run(build(dict(folder=sys.argv[1], kept=2, cpus=0.5)), route_prefix="/")
print("UP", flush=True)
sys.stdin.read()
serve.shutdown()
"""
NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def shelf(need, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    need("ray")
    folder, (port,) = tmp_path_factory.mktemp("models"), free_ports(1)
    for seed, name in enumerate(NAMES):
        write_toy(folder / f"made-{name}", seed).model.rename(folder / f"{name}.onnx")
    own = {"RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "disabled"), "RAY_USAGE_STATS_ENABLED": "0"}
    words = [str(python_of("ray")), "-W", "ignore", "-c", RUN, str(folder), str(port)]
    program = Program(words, folder / "log", own, "Ray Serve")
    try:
        program.told("UP", 180.0)
        yield f"http://127.0.0.1:{port}/v2/models", folder
    finally:
        program.close()


def test_each_model_answers_as_itself_however_many_are_kept(shelf: tuple[str, Path], bench: PlatformBench) -> None:
    """Two are kept and three take turns, so that each is loaded again and again."""
    from weigh.model.session import load_session

    url, folder = shelf
    feed: dict[str, Any] = dict(bench.feed(3))
    expected = {name: load_session(folder / f"{name}.onnx", 1).run(["scores"], feed)[0] for name in NAMES}
    assert np.abs(expected["a"] - expected["b"]).max() > 0.01, "they differ, so that one cannot answer for another"
    for name in ("a", "b", "c", "a", "c", "b", "a"):
        text = _v2.ask(f"{url}/{name}/infer", _v2.body(feed), serve_multiplexed_model_id=name)
        assert json.loads(text)["model_name"] == name
        assert _v2.answer(text) == pytest.approx(expected[name], abs=1e-6)
    told = json.loads(_v2.ask(f"{url}/b"))
    assert told["name"] == "b" and told["inputs"][0]["shape"] == [-1, 16]


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/none/infer", b"{}", "was answered with 404.*there is no model 'none'"),
        ("/..%2Fa/infer", b"{}", "404"),
        ("/a/other", b"{}", "404"),
        ("/a/infer", b"no json", "was answered with 400.*the body is no JSON"),
        ("/a/infer", b'{"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}', "400"),
    ],
)
def test_what_cannot_be_answered_is_refused(shelf: tuple[str, Path], path: str, body: bytes, says: str) -> None:
    with pytest.raises(RuntimeError, match=says):
        _v2.ask(shelf[0] + path, body)
