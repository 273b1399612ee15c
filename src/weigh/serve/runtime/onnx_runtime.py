"""ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from pydantic import Field

from weigh.choice import Needs, Unfit
from weigh.serve.runtime import Calibration, Runtime, Served, Setting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.model.source import Source

Provider = Literal["CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"]
PACKAGES = ("onnx>=1.18", "onnxscript>=0.5", "onnxruntime>=1.22", "torch>=2.8")


@final
class OnnxRuntime(Runtime):
    """ONNX Runtime: the net is exported to ONNX, its graph optimised as it is loaded, and run without PyTorch.

    Good for a small server that starts fast: serving needs no torch, and the file runs on many kinds of hardware. A
    provider that is asked for and does not take part is a failure: nothing falls back silently.

    Bad for code that branches on values, and operators that ONNX lacks; files beyond 2 GB.

    Source: ONNX Runtime; `torch.onnx.export(dynamo=True)`.
    """

    needs: ClassVar[Needs] = Needs(packages=PACKAGES, extra="runtimes")

    provider: Provider = Field("CPUExecutionProvider", description="what it must run on")

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        from weigh.serve.runtime._export import to_onnx

        return source.path if source.format == "onnx" else to_onnx(source, calibration, folder, "ONNX Runtime")

    def open(self, path: Path, source: Source, setting: Setting) -> Served:
        import onnxruntime

        known = onnxruntime.get_available_providers()
        if self.provider not in known:
            raise Unfit(
                f"this ONNX Runtime has no {self.provider} (it has {', '.join(known)}): install the build that has it "
                "(onnxruntime-gpu for CUDA and TensorRT) where the hardware is"
            )
        return Session(path, source, setting, self.provider)


@final
class Session(Served):
    """One file in ONNX Runtime, on one provider.

    Raises:
        FellBack: the session runs elsewhere.
    """

    def __init__(self, path: Path, source: Source, setting: Setting, provider: str) -> None:
        import onnxruntime

        from weigh.serve.runtime._parity import FellBack

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = setting.threads, 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self._session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
        taken = self._session.get_providers()
        if taken[:1] != [provider]:
            raise FellBack(
                f"ONNX Runtime was told to run on {provider} and runs on {', '.join(taken)} instead: its libraries or "
                "its hardware are missing there; mend that, or type provider=" + taken[0]
            )
        self._output = source.outputs[0].name if source.format == "onnx" else "answer"

    def answer(self, feed: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        from weigh.serve.runtime._reference import as_table

        return as_table(self._session.run([self._output], dict(feed))[0], self._output)

    def run(self, feed: Mapping[str, NDArray[Any]]) -> None:
        self._session.run([self._output], feed)
