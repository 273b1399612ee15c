"""The OpenAPI document, and what Schemathesis finds when it calls all that stands in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from byte_words import byte_llama
from servers import Running

FITS = """
[[operations]]
include-path-regex = "^/v1/"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400]
"""
"""No schema says how many tokens a text has: what does not fit into the context is refused with 400."""


def _finds_nothing(server: Running, folder: Path, settings: str = "") -> None:
    (folder / "schemathesis.toml").write_text(settings)
    done = subprocess.run(
        [Path(sys.executable).with_name("st"), "run", f"{server.url}/openapi.json", "--max-examples", "8",
         "--generation-deterministic", "--no-color", "--header", f"Authorization: Bearer {server.token}"],
        capture_output=True, text=True, cwd=folder, stdin=subprocess.DEVNULL, timeout=300,
        env=os.environ | {"SCHEMATHESIS_HOOKS": "sent_cases", "PYTHONPATH": str(Path(__file__).parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    told = server.call("GET", "/openapi.json")[2]
    assert f"{sum(len(one) for one in told['paths'].values()) - 1} selected" in done.stdout  # all but the document


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--private",)], ids=["open", "private"])
def test_schemathesis_finds_nothing(serve: Callable[..., Running], tmp_path: Path, flags: tuple[str, ...]):
    server = serve(*flags)
    _finds_nothing(server, tmp_path)
    assert server.infer(None, authorization=f"Bearer {server.token}")[0] == 200


@pytest.mark.slow
def test_nor_with_a_language_model(tmp_path: Path):
    server = Running(byte_llama(tmp_path / "model"), tmp_path / "state", ("--batching", "continuous"))
    server.start()
    try:
        _finds_nothing(server, tmp_path, FITS)
        assert {"/v1/models", "/v1/models/net", "/v1/chat/completions", "/v1/completions"} <= set(
            server.call("GET", "/openapi.json")[2]["paths"]
        )
        asked = {"model": "net", "prompt": "a", "max_tokens": 2}
        assert server.call("POST", "/v1/completions", asked)[0] == 200
    finally:
        assert server.stop() == 0
