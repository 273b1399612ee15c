"""The OpenAPI document, and what Schemathesis finds when it calls all that stands in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from servers import Running


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--private",)], ids=["open", "private"])
def test_schemathesis_finds_nothing(serve: Callable[..., Running], tmp_path: Path, flags: tuple[str, ...]):
    server = serve(*flags)
    done = subprocess.run(
        [Path(sys.executable).with_name("st"), "run", f"{server.url}/openapi.json", "--max-examples", "8",
         "--generation-deterministic", "--no-color", "--header", f"Authorization: Bearer {server.token}"],
        capture_output=True, text=True, cwd=tmp_path, stdin=subprocess.DEVNULL, timeout=300,
        env=os.environ | {"SCHEMATHESIS_HOOKS": "unknown_headers", "PYTHONPATH": str(Path(__file__).parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    told = server.call("GET", "/openapi.json")[2]
    assert f"{sum(len(one) for one in told['paths'].values()) - 1} selected" in done.stdout  # all but the document
    assert server.infer(None, authorization=f"Bearer {server.token}")[0] == 200
