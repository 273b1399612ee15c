"""What an image is built from serves the model; and a cluster is asked as kubectl is asked."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from weigh.cli import main
from weigh.serve.platform import Served, _v2
from weigh.serve.platform._bench import PlatformBench
from weigh.serve.platform._ports import free_ports
from weigh.serve.platform._process import Program
from weigh.serve.platform.kubernetes import Kubernetes, Started

ROOT = Path(__file__).resolve().parents[2]


def test_the_requirements_are_all_that_the_pods_command_needs(bench: PlatformBench, tmp_path: Path) -> None:
    """As the Dockerfile does it, but in an environment: the wheel, the versions, then the command of the pod."""
    import yaml

    out = tmp_path / "out"
    assert main(["deploy", str(bench.task.model), "--name", "toy", "--image", "i", "--to", str(out)]) == 0
    image = out / "image-champion"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(image / "wheels"), str(ROOT)], check=True)
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "image")], check=True)
    python = tmp_path / "image" / "bin" / "python"
    install = [str(python), "-m", "pip", "--disable-pip-version-check", "-q", "install", "--find-links"]
    subprocess.run([*install, str(image / "wheels"), "-r", str(image / "requirements.txt")], check=True)
    (manifest,) = out.glob("manifests/*deployment*")
    command = yaml.safe_load(manifest.read_text())["spec"]["template"]["spec"]["containers"][0]["command"]
    (port,) = free_ports(1)
    there = {
        "/models": str(image / "models"),
        "/state": str(tmp_path / "state"),
        "0.0.0.0": "127.0.0.1",
        "8080": str(port),
    }
    words = [
        next((word.replace(old, new) for old, new in there.items() if word.startswith(old)), word) for word in command
    ]
    program = Program([str(python), "-m", *words], tmp_path / "log", {"PYTHONPATH": ""})
    try:
        url = f"http://127.0.0.1:{port}/v2/models/toy/infer"
        until = time.monotonic() + 60
        while True:
            try:
                answer = _v2.answer(_v2.ask(url, _v2.body(bench.feed(1))))
                break
            except OSError:
                program.need_alive()
                assert time.monotonic() < until, program.words()
                time.sleep(0.1)
    finally:
        program.close()
    assert answer == pytest.approx(bench.direct(bench.feed(1)), abs=1e-6)


KUBECTL = """#!/bin/sh
echo "$@" >> {noted}
case "$*" in
  *current-context*) echo mine ;;
  *port-forward*) exec {python} {forward} ;;
  *top*) echo "weighed-champion-1 12m 64Mi"; echo "weighed-champion-2 9m 36Mi" ;;
esac
"""
FORWARD = """
import json, pathlib, subprocess, sys, time
state = pathlib.Path({state!r})
words = ["serve", {model!r}, "--name", "weighed", "--port", "0", "--state", str(state)]
server = subprocess.Popen([{python!r}, "-m", "weigh", *words])
while not (state / "server.json").exists():
    time.sleep(0.05)
url = json.loads((state / "server.json").read_text())["url"]
print("Forwarding from", url.removeprefix("http://"), "-> 8080", flush=True)
server.wait()
"""


def test_a_cluster_is_asked_as_kubectl_is_asked(
    bench: PlatformBench, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kubectl that notes what it is asked, and forwards to a server on this machine, stands in for a cluster."""
    noted, forward = tmp_path / "noted", tmp_path / "forward.py"
    forward.write_text(
        FORWARD.format(state=str(tmp_path / "state"), python=sys.executable, model=str(bench.task.model))
    )
    (tmp_path / "kubectl").write_text(KUBECTL.format(noted=noted, python=sys.executable, forward=forward))
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    made = Kubernetes(image="registry.example.org/toy", namespace="ml").start(served, tmp_path)
    try:
        assert isinstance(made, Started) and bench._parity(made, "kubernetes") == 0.0
        assert made.memory_mb() == pytest.approx(100 * 2**20 / 1e6)
        made.swap(bench.source)
    finally:
        made.close()
    asked = noted.read_text()
    assert "apply --server-side" in asked and "--namespace ml rollout status deployment/weighed-champion" in asked
    assert "rollout restart deployment/weighed-champion" in asked
    assert asked.splitlines()[-1].startswith("--namespace ml delete --ignore-not-found -f")
