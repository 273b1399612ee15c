"""TorchServe."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

from pydantic import Field

from weigh.choice import Needs
from weigh.serve.platform import Platform, Running, Served, _v2
from weigh.serve.platform._environment import Beside, python_of
from weigh.serve.platform._load import request
from weigh.serve.platform._onnx import as_onnx
from weigh.serve.platform._ports import free_ports
from weigh.serve.platform._process import Program

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.model.source import Source

ENVIRONMENT = "torchserve"
HANDLER = Path(__file__).with_name("_torchserve_handler.py")


@final
class TorchServe(Platform):
    """TorchServe 0.12: a Java front end, and Python workers that load a .mar archive. Archived upstream in 2025.

    Good where archives and their tooling are there already: versions side by side, workers scaled while it runs.

    Bad for anything new: its makers have archived it, so that faults in it are not mended any more; it has no traffic
    weights. It runs in an environment of its own, beside weigh's; Java 11 or newer must be on the path.

    Source: PyTorch, TorchServe documentation (docs.pytorch.org/serve), release 0.12.0.
    """

    needs: ClassVar[Needs] = Beside(
        environments=(ENVIRONMENT,),
        programs=("java",),
        how="install a Java runtime, version 11 or newer (Debian and Ubuntu: apt-get install default-jre-headless)",
    )

    workers: int = Field(1, ge=1, description="processes that run the model")
    netty_threads: int = Field(0, ge=0, description="threads of the front end; 0: as it finds best")

    def start(self, served: Served, folder: Path) -> Running:
        return Started(self, served, folder)


@final
class Started(Running):
    """A front end with its workers.

    Attributes:
        started: seconds from its start to its first answer; the archive was built before.
    """

    def __init__(self, option: TorchServe, served: Served, folder: Path) -> None:
        self._served, self._folder, self._workers = served, folder, option.workers
        self._python, self._version = python_of(ENVIRONMENT), 1
        self._output = served.source.outputs[0].name if served.source.outputs else ""
        self._store = folder / "store"
        self._store.mkdir()
        first = archive(served.source, served.example, served.name, "1.0", self._store, self._python)
        inference, management, metrics, grpc, grpc_management = free_ports(5)
        self.url, self._admin = f"http://127.0.0.1:{inference}", f"http://127.0.0.1:{management}"
        self._infer = f"{self.url}/predictions/{served.name}"
        config = {
            "inference_address": self.url, "management_address": self._admin,
            "metrics_address": f"http://127.0.0.1:{metrics}", "grpc_inference_port": grpc,
            "grpc_management_port": grpc_management, "model_store": self._store,
            "load_models": f"{served.name}={first.name}", "default_workers_per_model": option.workers,
            "disable_system_metrics": "true", "number_of_netty_threads": option.netty_threads,
            "job_queue_size": 1000,
        }  # fmt: skip
        self._program = Program(
            [
                str(self._python), "-m", "ts.model_server", "--start", "--foreground", "--ncs", "--disable-token-auth",
                "--enable-model-api", "--ts-config", str(written(folder, config)),
            ],
            folder / "torchserve.log", environment(self._python, served.threads, folder), "TorchServe",
        )  # fmt: skip
        try:
            self.started = self._first_answer(served.seconds)
        except BaseException:
            self.close()
            raise

    def _first_answer(self, seconds: float) -> float:
        until, asked = time.monotonic() + seconds, _v2.body(self._served.example)
        while True:
            try:
                _v2.ask(self._infer, asked)
                return time.perf_counter() - self._program.began
            except (OSError, RuntimeError) as error:
                self._program.need_alive()
                if time.monotonic() > until:
                    raise RuntimeError(
                        f"TorchServe did not answer within {seconds:g} s ({error}): {self._program.words()}"
                    ) from None
            time.sleep(0.05)

    def request(self, feed: Mapping[str, NDArray[Any]]) -> bytes:
        return request(self._infer, _v2.body(feed))

    def answer(self, body: bytes) -> NDArray[np.float32]:
        return _v2.answer(body, self._output)

    def swap(self, source: Source) -> None:
        """The next version is started beside the one that answers, and becomes the default.

        The one before stays until the next swap: TorchServe 0.12 answers 500 (a NullPointerException) when a version is
        unregistered that has just had requests.
        """
        self._version += 1
        name, new = self._served.name, f"{self._version}.0"
        if self._version > 2:
            _v2.ask(f"{self._admin}/models/{name}/{self._version - 2}.0", None, "DELETE")
        made = archive(source, self._served.example, name, new, self._store, self._python)
        _v2.ask(
            f"{self._admin}/models?url={made.name}&model_name={name}&initial_workers={self._workers}&synchronous=true",
            b"", "POST", self._served.seconds,
        )  # fmt: skip
        _v2.ask(f"{self._admin}/models/{name}/{new}/set-default", b"", "PUT")

    def versions(self) -> dict[str, bool]:
        """The versions that it has -> whether it is the default."""
        told = json.loads(_v2.ask(f"{self._admin}/models/{self._served.name}/all"))
        default = json.loads(_v2.ask(f"{self._admin}/models/{self._served.name}"))[0]["modelVersion"]
        return {one["modelVersion"]: one["modelVersion"] == default for one in told}

    def roots(self) -> list[int]:
        return [self._program.pid]

    def close(self) -> None:
        self._program.close()


def archive(
    source: Source, example: Mapping[str, NDArray[Any]], name: str, version: str, store: Path, python: Path
) -> Path:
    """Build a .mar of a model: an ONNX file or a `torch.export` archive as it is, other nets through ONNX.

    Args:
        example: one request's inputs, from which nets are exported.
        version: such as 1.0.
        store: the folder to write into.
        python: of the environment that has torch-model-archiver.

    Returns: the archive, with its version in its name.

    Raises:
        Unfit: the net cannot be exported.
        RuntimeError: the archiver refuses.
    """
    file = source.path if source.format == "exported" else as_onnx(source, example)
    own = store / f".{name}-{version}{file.suffix}"
    shutil.copyfile(file, own)
    words = [
        str(python), "-m", "model_archiver.model_packaging", "--model-name", name, "--version", version,
        "--serialized-file", str(own), "--handler", str(HANDLER), "--export-path", str(store),
        "--archive-format", "default", "--force",
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    own.unlink()
    made = store / f"{name}.mar"
    if done.returncode or not made.is_file():
        said = " ".join((done.stderr or done.stdout).split())[-400:]
        raise RuntimeError(f"torch-model-archiver cannot pack {file.name}: {said}")
    return made.rename(store / f"{name}-{version}.mar")


def environment(python: Path, threads: int, folder: Path) -> dict[str, str]:
    """For the front end, which starts its workers with the first `python` on the path.

    It notes its process id in the folder of temporary files, and starts none where it finds one: each has its own.
    """
    own = folder / "tmp"
    own.mkdir(exist_ok=True)
    path = f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {"PATH": path, "WEIGH_THREADS": str(threads), "OMP_NUM_THREADS": str(threads), "TMPDIR": str(own),
            "PYTHONPATH": ""}  # fmt: skip


def written(folder: Path, config: Mapping[str, object]) -> Path:
    """A file of properties; what is 0 is left to TorchServe."""
    lines = [f"{name}={value}\n" for name, value in config.items() if value != 0]
    path = folder / "config.properties"
    path.write_text("".join(lines))
    return path
