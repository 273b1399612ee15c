"""OpenVINO."""

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


@final
class OpenVino(Runtime):
    """OpenVINO: the net is translated to its own graph and compiled for the processor as it is loaded, in a second.

    Good on Intel processors, whose kernels it knows best; serving needs no torch. It is told to compute in float32:
    left to itself it takes bfloat16 where the processor has it, and answers otherwise than the model.

    Bad where the answer must be the same on every machine: kernels are chosen by the processor.

    Source: OpenVINO, Inference precision hints (docs.openvino.ai).
    """

    needs: ClassVar[Needs] = Needs(packages=("openvino>=2025.1", "torch>=2.8"), extra="runtimes")

    precision: Literal["f32", "bf16", "f16", "default"] = Field(
        "f32", description="numbers that it computes in; default: as it finds best, bf16 where the processor has it"
    )
    device: Literal["CPU", "GPU", "NPU"] = Field("CPU", description="what it must run on")

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        if source.format == "onnx":
            return source.path
        import openvino

        from weigh.serve.runtime._export import exported, quiet, untranslatable

        program, _, _ = exported(source, calibration, "OpenVINO")
        try:
            with quiet():
                made = openvino.convert_model(program)
        except Exception as error:  # its frontends raise errors of many kinds
            raise Unfit(untranslatable(error, "OpenVINO")) from None
        target = folder / "model.xml"
        openvino.save_model(made, target, compress_to_fp16=False)
        return target

    def open(self, path: Path, source: Source, setting: Setting) -> Served:
        import openvino

        known = openvino.Core().available_devices
        if not any(one.split(".")[0] == self.device for one in known):
            raise Unfit(
                f"OpenVINO finds no {self.device} here (it finds {', '.join(known)}): install its driver, or device=CPU"
            )
        hints: dict[str, Any] = {"INFERENCE_NUM_THREADS": setting.threads, "NUM_STREAMS": 1}
        if self.precision != "default":
            hints["INFERENCE_PRECISION_HINT"] = self.precision
        return Request(path, source, self.device, hints)


@final
class Request(Served):
    """One graph, compiled for one device.

    Raises:
        FellBack: it runs elsewhere.
    """

    def __init__(self, path: Path, source: Source, device: str, hints: Mapping[str, Any]) -> None:
        import openvino

        from weigh.serve.runtime._net import names_of
        from weigh.serve.runtime._parity import FellBack

        self._compiled = openvino.Core().compile_model(str(path), device, dict(hints))
        taken = [str(one).split(".")[0] for one in self._compiled.get_property("EXECUTION_DEVICES")]
        if any(one != device for one in taken):
            raise FellBack(f"OpenVINO was told to run on {device} and runs on {', '.join(taken)}: mend its driver")
        self._request, self._names = self._compiled.create_infer_request(), names_of(source)
        self._output = next(
            (one for one in self._compiled.outputs if source.outputs[0].name in one.names), self._compiled.outputs[0]
        )

    def answer(self, feed: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        from weigh.serve.runtime._reference import as_table

        self.run(feed)
        return as_table(self._request.get_tensor(self._output).data.copy(), "answer")

    def run(self, feed: Mapping[str, NDArray[Any]]) -> None:
        self._request.infer([feed[name] for name in self._names])
