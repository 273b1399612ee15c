"""KServe's own client against weigh's server, unchanged: tensors as JSON and as bytes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from weigh.serve.platform import Served
from weigh.serve.platform._environment import python_of

CLIENT = """
import asyncio, json, sys

import numpy as np
from kserve import InferInput, InferRequest, InferenceRESTClient
from kserve.inference_client import RESTConfig


async def main(url, name, rows):
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await client.is_server_ready(url) and await client.is_model_ready(url, "net")
    found = []
    for binary in (False, True):
        given = InferInput(name=name, shape=list(rows.shape), datatype="FP32")
        given.set_data_from_numpy(rows, binary_data=binary)
        answer = await client.infer(url, InferRequest(model_name="net", infer_inputs=[given]), model_name="net")
        found.append(answer.outputs[0].as_numpy().tolist())
    print(json.dumps(found))


asyncio.run(main(sys.argv[1], sys.argv[2], np.array(json.loads(sys.argv[3]), "f4")))
"""


def test_kserves_client_works_unchanged(served: Served, need, tmp_path: Path) -> None:
    need("kserve")
    state = tmp_path / "state"
    server = subprocess.Popen(
        [sys.executable, "-m", "weigh", "serve", str(served.source.path), "--name", "net", "--port", "0",
         "--state", str(state)],
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while not (state / "server.json").exists():
            assert server.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        url = json.loads((state / "server.json").read_text())["url"]
        ((name, rows),) = served.example.items()
        done = subprocess.run(
            [python_of("kserve"), "-c", CLIENT, url, name, json.dumps(np.asarray(rows, "f4").tolist())],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told, raw = json.loads(done.stdout)
        assert told == raw
        from weigh.server.model import open_model

        wanted = open_model(served.source.path).run({name: np.asarray(rows, "f4")})
        np.testing.assert_array_equal(np.array(told, "f4"), next(iter(wanted.values())))
    finally:
        server.terminate()
        assert server.wait(60) == 0
