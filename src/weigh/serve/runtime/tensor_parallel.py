"""A model shared out over processes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

from pydantic import Field

from weigh.choice import Needs
from weigh.serve.runtime import Calibration, Runtime, Served, Setting

if TYPE_CHECKING:
    from weigh.model.source import Source


@final
class TensorParallel(Runtime):
    """Tensor-parallel: each matrix is cut in two or more, one part a process, and partial results are summed.

    Good for models beyond the memory of one device or one socket: each process keeps its share of the layers.

    Bad for small models, and where one processor has cores to spare: every layer waits twice for all processes. Each
    process has `threads` threads of its own, so that it takes more cores than the other options do.

    Source: Shoeybi et al., Megatron-LM (arXiv 1909.08053), section 3; `torch.distributed.tensor.parallel`.
    """

    needs: ClassVar[Needs] = Needs(packages=("torch>=2.8", "transformers>=5"), extra="serve")

    processes: int = Field(
        0, ge=0, description="that share the model; 0: the fewest over one that divide its heads and their groups"
    )

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        from weigh.serve.runtime._plan import processes_for

        processes_for(source, self.processes)
        return source.path

    def open(self, path: Path, source: Source, setting: Setting) -> Served:
        from weigh.serve.runtime._group import Group
        from weigh.serve.runtime._plan import processes_for

        return Group(source, setting.threads, processes_for(source, self.processes))
