"""TensorRT."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

from pydantic import Field

from weigh.choice import Needs, Unfit
from weigh.serve.runtime import Calibration, Runtime, Served, Setting

if TYPE_CHECKING:
    from weigh.model.source import Source

PACKAGES = ("onnx>=1.18", "onnxscript>=0.7", "onnxruntime>=1.22", "torch>=2.13")


@final
class TensorRt(Runtime):
    """TensorRT-RTX: the ONNX graph becomes an engine of fused kernels for one kind of NVIDIA GPU.

    Good for the lowest latency on NVIDIA GPUs. The parser and the building need no GPU, so that an engine can be built
    where there is none; running one does. It computes in float32, without TensorFloat-32.

    Bad elsewhere: an engine fits one compute capability and one version. Packages come from NVIDIA and are installed
    apart, without their dependencies.

    Source: NVIDIA, TensorRT for RTX documentation; its ONNX parser.
    """

    needs: ClassVar[Needs] = Needs(packages=PACKAGES, extra="runtimes", hardware="nvidia")

    capability: str = Field(
        "", description="of the GPU that the engine is for, such as SM86; of the one here when empty"
    )
    most_rows: int = Field(16, ge=1, description="rows that the engine takes at once")
    most_tokens: int = Field(512, ge=1, description="tokens of a row that the engine takes")

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        from weigh.serve.runtime._engine import bindings, build
        from weigh.serve.runtime._export import to_onnx

        bindings()
        scratch = folder / "graph"
        scratch.mkdir()
        graph = source.path if source.format == "onnx" else to_onnx(source, calibration, scratch, "TensorRT")
        tokens = self.most_tokens if source.kind != "classifier" else 0
        most = {
            name: (self.most_rows, *((tokens,) if tokens else values.shape[1:]))
            for name, values in calibration.feeds.items()
        }
        made = build(graph, folder / "model.engine", most, self.capability or here())
        for file in scratch.iterdir():
            file.unlink()
        scratch.rmdir()
        return made

    def open(self, path: Path, source: Source, setting: Setting) -> Served:
        import torch

        from weigh.serve.runtime._engine import Engine

        if not torch.cuda.is_available():
            raise Unfit("running an engine takes an NVIDIA GPU and a torch with CUDA: install that build of torch")
        if setting.rows[-1] > self.most_rows or setting.tokens > self.most_tokens:
            raise Unfit(
                f"the engine takes {self.most_rows} rows of {self.most_tokens} tokens, and {setting.rows[-1]} of "
                f"{setting.tokens} come: type most_rows={setting.rows[-1]},most_tokens={max(setting.tokens, 1)}"
            )
        return Engine(path, source, setting)


def here() -> str:
    """The compute capability of the GPU of this machine.

    Raises:
        Unfit: there is none.
    """
    import torch

    if not torch.cuda.is_available():
        raise Unfit("no GPU says for which one to build: type capability=SM86, or whichever will run it")
    major, minor = torch.cuda.get_device_capability()
    return f"SM{major}{minor}"
