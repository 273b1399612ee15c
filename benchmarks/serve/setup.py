"""How each peer is set up: one worker, as its documents have it for production, without access logs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.serve.environments import HERE, python_of
from benchmarks.serve.net import Net

INFER = "/v2/models/net/infer"
Row = Sequence[float]


def tensors(row: Row) -> dict[str, Any]:
    """A row as the Open Inference Protocol v2 asks about it."""
    return {"inputs": [{"name": "x", "shape": [1, len(row)], "datatype": "FP32", "data": list(row)}]}


def scores(told: Any) -> list[float]:
    """The numbers of an answer of the Open Inference Protocol v2."""
    return list(told["outputs"][0]["data"])


@dataclass(frozen=True, slots=True)
class Command:
    """What starts a server, and how it is asked.

    Attributes:
        words: the command.
        env: of its environment, beside this process's own.
        path: that requests go to.
        asked: a row -> the body of a request, as Python has JSON.
        answer: the body of an answer -> its numbers.
    """

    words: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    path: str = INFER
    asked: Callable[[Row], Any] = tensors
    answer: Callable[[Any], Sequence[float]] = scores


def _env(net: Net) -> dict[str, str]:
    return {"SERVED_NET": str(net.path), "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "1"}


def fastapi(net: Net, folder: Path, port: int) -> Command:
    """uvicorn with uvloop and httptools (`uvicorn[standard]`), one process."""
    words = [str(python_of("fastapi")), "-m", "uvicorn", "fastapi_app:app", "--port", str(port), "--no-access-log"]
    return Command([*words, "--log-level", "warning", "--workers", "1"], _env(net))


def litserve(net: Net, folder: Path, port: int) -> Command:
    """One API server, one worker."""
    return Command([str(python_of("litserve")), str(HERE / "litserve_app.py"), str(port)], _env(net))


def bentoml(net: Net, folder: Path, port: int) -> Command:
    """`bentoml serve` of one worker; it takes an array by its name."""
    words = [str(python_of("bentoml")), "-m", "bentoml", "serve", "bentoml_app:Net", "--port", str(port)]
    words += ["--host", "127.0.0.1", "--working-dir", str(HERE)]
    env = _env(net) | {"BENTOML_HOME": str(folder / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
    return Command(words, env, "/infer", lambda row: {"x": [list(row)]}, lambda told: list(told[0]))


def mlserver(net: Net, folder: Path, port: int) -> Command:
    """A custom runtime in MLServer's own process: its pool of workers would cost a hop more."""
    ports = [str(one) for one in _free(2)]
    settings = {
        "debug": False, "parallel_workers": 0, "host": "127.0.0.1", "http_port": port, "grpc_port": int(ports[0]),
        "metrics_port": int(ports[1]), "metrics_dir": str(folder / "metrics"),
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps({"name": "net", "implementation": "mlserver_app.Net"}))
    program = python_of("mlserver").parent / "mlserver"
    return Command([str(program), "start", str(folder)], _env(net))


def mlflow(net: Net, folder: Path, port: int) -> Command:
    """`mlflow models serve` of a logged ONNX model, one worker; uvicorn is told by its variables to log no access."""
    model, env = folder / "model", {**os.environ, **_env(net)}
    subprocess.run([sys.executable, str(HERE / "mlflow_model.py"), str(net.path), str(model)], env=env, check=True)
    words = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(model), "--env-manager", "local"]
    quiet = {"UVICORN_ACCESS_LOG": "false", "UVICORN_LOG_LEVEL": "warning", "MLFLOW_DISABLE_TELEMETRY": "true"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # it starts `uvicorn` by name
    return Command(
        [*words, "--port", str(port), "--workers", "1"], _env(net) | quiet | {"PATH": path}, "/invocations",
        lambda row: {"inputs": [list(row)]}, lambda told: list(told["predictions"]["scores"][0]),
    )  # fmt: skip


def ray_serve(net: Net, folder: Path, port: int) -> Command:
    """One replica behind one proxy, with the settings that Ray's documents give for throughput."""
    from weigh.serve.platform._environment import make

    env = _env(net) | {
        "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    }  # fmt: skip
    return Command([str(make("ray")), str(HERE / "ray_app.py"), str(port)], env, "/infer")


def torchserve(net: Net, folder: Path, port: int) -> Command:
    """A .mar with the ONNX file and weigh's handler, one worker; Java's front end."""
    from weigh.model.source import open_source
    from weigh.serve.platform import torchserve as platform
    from weigh.serve.platform._environment import make

    python, store = make("torchserve"), folder / "store"
    store.mkdir()
    archive = platform.archive(open_source(net.path), {"x": net.rows[:1]}, "net", "1.0", store, python)
    others = _free(4)
    config = {
        "inference_address": f"http://127.0.0.1:{port}", "management_address": f"http://127.0.0.1:{others[0]}",
        "metrics_address": f"http://127.0.0.1:{others[1]}", "grpc_inference_port": others[2],
        "grpc_management_port": others[3], "model_store": store, "load_models": f"net={archive.name}",
        "default_workers_per_model": 1, "job_queue_size": 1000, "disable_system_metrics": "true",
        "vmargs": f"-Dlog4j.configurationFile={_quiet(folder)}",
    }  # fmt: skip
    words = [
        str(python), "-m", "ts.model_server", "--start", "--foreground", "--ncs", "--disable-token-auth",
        "--ts-config", str(platform.written(folder, config)), "--log-config", str(_quiet(folder)),
    ]  # fmt: skip
    return Command(words, platform.environment(python, 1, folder), "/predictions/net")


def _quiet(folder: Path) -> Path:
    """Settings of Log4j that log warnings alone."""
    path = folder / "log4j2.xml"
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?><Configuration><Appenders><Console name="out" target="SYSTEM_OUT">'
        '<PatternLayout pattern="%d %p %m%n"/></Console></Appenders><Loggers><Root level="warn">'
        '<AppenderRef ref="out"/></Root></Loggers></Configuration>\n'
    )
    return path


def _free(count: int) -> list[int]:
    from weigh.serve.platform._ports import free_ports

    return free_ports(count)


PEERS: Mapping[str, Callable[[Net, Path, int], Command]] = {
    "fastapi": fastapi, "litserve": litserve, "bentoml": bentoml, "mlserver": mlserver, "mlflow": mlflow,
    "ray_serve": ray_serve, "torchserve": torchserve,
}  # fmt: skip
