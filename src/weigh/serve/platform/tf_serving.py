"""TensorFlow Serving."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

from pydantic import Field

from weigh.choice import Needs
from weigh.serve.platform import Platform, Running, Served, _v2
from weigh.serve.platform._environment import Beside
from weigh.serve.platform._load import request
from weigh.serve.platform._onnx import as_onnx, output_of
from weigh.serve.platform._ports import free_ports
from weigh.serve.platform._process import Program
from weigh.serve.platform._savedmodel import ENVIRONMENTS, write_savedmodel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.model.source import Source

BINARY = "tensorflow_model_server"


@final
class TfServing(Platform):
    """TensorFlow Serving: a C++ server of SavedModels, to which the model is translated from ONNX.

    Good for many clients of TensorFlow's own APIs, and for versions that are loaded and dropped as folders come and go;
    the first request of each is warmed up. Bad for models with operators that are not translated. The translation is
    held against ONNX Runtime before it is served.

    Source: Olston et al., TensorFlow-Serving (arXiv 1712.06139); TensorFlow Serving, RESTful API.
    """

    needs: ClassVar[Needs] = Beside(
        environments=ENVIRONMENTS,
        programs=(BINARY,),
        how="there is no wheel of TensorFlow Serving: install it from its apt repository, or take the binary out of "
        "the image tensorflow/serving (tensorflow.org/tfx/serving/setup)",
    )

    batching: bool = Field(False, description="gather requests for a run, as the server's own scheduler does")

    def start(self, served: Served, folder: Path) -> Running:
        return Started(self, served, folder)


@final
class Started(Running):
    """The server over a folder of versions.

    Attributes:
        started: seconds from its start to its first answer; the SavedModel was written before.
    """

    def __init__(self, option: TfServing, served: Served, folder: Path) -> None:
        self._served, self._version, self._home = served, 1, folder / served.name
        self._write(served.source)
        config = folder / "models.config"
        config.write_text(models_config(served.name, self._home))
        rest, grpc = free_ports(2)
        self.url = f"http://127.0.0.1:{rest}"
        self._infer = f"{self.url}/v1/models/{served.name}:predict"
        threads = str(served.threads)
        self._program = Program(
            [
                BINARY, f"--rest_api_port={rest}", f"--port={grpc}", f"--model_config_file={config}",
                "--file_system_poll_wait_seconds=1", f"--tensorflow_intra_op_parallelism={threads}",
                f"--tensorflow_inter_op_parallelism={threads}", f"--enable_batching={str(option.batching).lower()}",
            ],
            folder / "tensorflow_model_server.log", {"TF_CPP_MIN_LOG_LEVEL": "1"}, "TensorFlow Serving",
        )  # fmt: skip
        try:
            self._until(1, served.seconds)
            _v2.ask(self._infer, self._body(served.example))
        except BaseException:
            self.close()
            raise
        self.started = time.perf_counter() - self._program.began

    def _write(self, source: Source) -> None:
        graph = as_onnx(source, self._served.example)
        write_savedmodel(
            graph, self._home / str(self._version), self._served.name, self._served.example, output_of(source, graph)
        )

    def _until(self, version: int, seconds: float) -> None:
        """Wait until a version answers."""
        until, told = time.monotonic() + seconds, ""
        while True:
            try:
                told = _v2.ask(f"{self.url}/v1/models/{self._served.name}/versions/{version}").decode()
                if json.loads(told)["model_version_status"][0]["state"] == "AVAILABLE":
                    return
            except (OSError, RuntimeError) as error:
                told = str(error)
            self._program.need_alive()
            if time.monotonic() > until:
                raise RuntimeError(f"TensorFlow Serving has no version {version} within {seconds:g} s: {told[:300]}")
            time.sleep(0.05)

    def _body(self, feed: Mapping[str, NDArray[Any]]) -> bytes:
        return json.dumps({"inputs": {name: values.tolist() for name, values in feed.items()}}).encode()

    def request(self, feed: Mapping[str, NDArray[Any]]) -> bytes:
        return request(self._infer, self._body(feed))

    def answer(self, body: bytes) -> NDArray[np.float32]:
        import numpy as np

        values = np.array(json.loads(body)["outputs"], np.float32)
        return values.reshape(len(values), -1)

    def swap(self, source: Source) -> None:
        """A folder of the next version appears; the server loads it, then drops the one before."""
        self._version += 1
        self._write(source)
        self._until(self._version, self._served.seconds)

    def roots(self) -> list[int]:
        return [self._program.pid]

    def close(self) -> None:
        self._program.close()


def models_config(name: str, folder: Path, labels: Mapping[str, int] | None = None) -> str:
    """The server's list of models, as text of a ModelServerConfig.

    Args:
        labels: by which clients name versions, such as ``stable`` and ``canary`` -> the version; the newest version
            alone is served where there are none.

    Source: TensorFlow Serving, Configuration (tensorflow.org/tfx/serving/serving_config).
    """
    lines = [f"name: {json.dumps(name)}", f"base_path: {json.dumps(str(folder))}", 'model_platform: "tensorflow"']
    if labels:
        kept = " ".join(f"versions: {version}" for version in sorted(set(labels.values())))
        lines.append(f"model_version_policy {{ specific {{ {kept} }} }}")
        lines += [
            f"version_labels {{ key: {json.dumps(label)} value: {version} }}" for label, version in labels.items()
        ]
    inner = "\n".join(f"    {line}" for line in lines)
    return f"model_config_list {{\n  config {{\n{inner}\n  }}\n}}\n"
