"""The model as it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

from weigh.choice import Needs
from weigh.serve.runtime import Calibration, Runtime, Served, Setting

if TYPE_CHECKING:
    from weigh.model.source import Source


@final
class Eager(Runtime):
    """The model as it is: PyTorch, operator by operator, in float32.

    Good as the reference: nothing is translated, so nothing can be translated wrongly; starts at once and takes any
    shape. An ONNX file, which has no PyTorch, is interpreted operator by operator by ONNX's reference evaluator.

    Bad for small nets, where Python between operators takes longer than the operators.

    Source: `torch.nn.Module`; `onnx.reference.ReferenceEvaluator`.
    """

    needs: ClassVar[Needs] = Needs(packages=("torch>=2.8",), extra="serve")

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        return source.path

    def open(self, path: Path, source: Source, setting: Setting) -> Served:
        if source.format == "onnx":
            from weigh.serve.runtime._reference import ReferenceServed

            return ReferenceServed(path, source)
        from weigh.serve.runtime._net import load_net
        from weigh.serve.runtime._torch import TorchServed

        return TorchServed(load_net(source, "eager"), source, setting)
