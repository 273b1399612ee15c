"""A package that was compiled beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

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
        """By the loader that C++ servers use: torch's Python one compiles probes of the processor as it starts."""
        import torch

        from weigh.serve.runtime._torch import TorchServed

        loader: Any = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", False, 1, -1)
        need_processor(loader.get_metadata().get("AOTI_CPU_ISA", ""), torch.backends.cpu.get_cpu_capability())
        return TorchServed(lambda *given: loader.run(list(given))[0], source, setting)


def need_processor(wanted: str, have: str) -> None:
    """Raises `Unfit` where a package was compiled for instructions that this processor lacks.

    Args:
        wanted: as the package says, widest first, such as "AVX512 AVX512_VNNI".
        have: as torch says, such as "AVX2".
    """
    widths = ("AVX512", "AVX2", "")
    first = next((one for one in widths if wanted.startswith(one)), "")
    mine = next((one for one in widths if have.startswith(one)), "")
    if widths.index(mine) > widths.index(first):
        raise Unfit(
            f"the package was compiled for {first}, and this processor has {have}: empty weigh's cache, which another "
            "machine filled, and it is compiled again here"
        )
