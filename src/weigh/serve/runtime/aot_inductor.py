"""A package that was compiled beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

from weigh.choice import Needs, Unfit
from weigh.serve.runtime import Calibration, Runtime, Served, Setting

if TYPE_CHECKING:
    from weigh.model.source import Source


@final
class AotInductor(Runtime):
    """AOTInductor: the net is exported and compiled once into a package with its weights, a shared library inside.

    Good for what `torch.compile` is good for without its start: a fresh process loads the package in seconds, runs no
    code of the model, and needs no compiler.

    Bad across machines: the package holds instructions of the processor that compiled it, and needs the torch that
    made it. What torch.export cannot trace is unfit.

    Source: `torch._inductor.aoti_compile_and_package`; Ansel et al., PyTorch 2 (ASPLOS 2024).
    """

    needs: ClassVar[Needs] = Needs(packages=("torch>=2.8",), extra="serve")

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        import torch

        from weigh.model.source import reason
        from weigh.serve._compiler import need_compiler
        from weigh.serve.runtime._export import exported, quiet

        need_compiler("AOTInductor")
        program, _, _ = exported(source, calibration, "AOTInductor")
        target = folder / "model.pt2"
        try:
            with quiet(), torch.no_grad():
                torch._inductor.aoti_compile_and_package(program, package_path=str(target))
        except RuntimeError as error:
            raise Unfit(f"AOTInductor cannot compile the net ({reason(error)}): leave this option out") from None
        return target

    def open(self, path: Path, source: Source, setting: Setting) -> Served:
        from weigh.serve.runtime._export import quiet
        from weigh.serve.runtime._torch import TorchServed

        with quiet():
            import torch._inductor

            loaded = torch._inductor.aoti_load_package(str(path))
        return TorchServed(loaded, source, setting)
