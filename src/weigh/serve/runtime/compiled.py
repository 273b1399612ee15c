"""`torch.compile`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from weigh.choice import Needs
from weigh.serve.runtime import Calibration, Runtime, Served, Setting

if TYPE_CHECKING:
    from weigh.model.source import Source


@final
class Compiled(Runtime):
    """`torch.compile`: the net's graph is captured as it runs, and written as C++ kernels that fuse its operators.

    Good for nets of many small operators, and where the code must stay Python: what cannot be compiled runs as it is.

    Bad where processes start often: each compiles for tens of seconds, unless its cache folder is kept; a C++ compiler
    must be installed where it serves.

    Source: Ansel et al., PyTorch 2 (ASPLOS 2024), doi 10.1145/3620665.3640366.
    """

    needs: ClassVar[Needs] = Needs(packages=("torch>=2.8",), extra="serve")

    mode: Literal["default", "max-autotune-no-cudagraphs"] = Field(
        "default", description="how long kernels are searched for: max-autotune measures several and keeps the fastest"
    )

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        from weigh.model.module import need_torch

        if source.format != "gguf":
            need_torch(source, "torch.compile")
        return source.path

    def open(self, path: Path, source: Source, setting: Setting) -> Served:
        from weigh.serve._compiler import compiled
        from weigh.serve.runtime._export import quiet
        from weigh.serve.runtime._net import load_net
        from weigh.serve.runtime._torch import TorchServed, examples

        with quiet():
            made = compiled(load_net(source, "torch.compile"), dynamic=True, mode=self.mode)
            served = TorchServed(made, source, setting)
            for rows in setting.rows:
                served.answer(examples(source, rows, setting.tokens))
        return served
