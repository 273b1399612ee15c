"""Nets and servers for every test of the server."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import Running, write_net


@pytest.fixture(scope="session")
def nets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """net; near (answers as it does); other (does not); slow; breaks (now and then)."""
    home = tmp_path_factory.mktemp("nets")
    return {
        "net": write_net(home / "net.onnx"), "near": write_net(home / "near.onnx", shift=1e-4),
        "other": write_net(home / "other.onnx", shift=3.0), "slow": write_net(home / "slow.onnx", work=12),
        "breaks": write_net(home / "breaks.onnx", breaks=True),
    }  # fmt: skip


@pytest.fixture
def serve(nets: dict[str, Path], tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts servers, which end with the test."""
    started: list[Running] = []

    def start(*flags: str, model: str = "net", prefix: tuple[str, ...] = ()) -> Running:
        made = Running(nets[model], tmp_path / f"state{len(started)}", flags)
        started.append(made)
        return made.start(prefix)

    yield start
    for one in started:
        if one.process is not None and one.process.poll() is None:
            os.killpg(one.process.pid, signal.SIGKILL)
            one.process.wait()
