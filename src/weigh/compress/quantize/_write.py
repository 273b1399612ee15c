"""The chosen model as a file of the user's."""

from __future__ import annotations

import shutil
from pathlib import Path

from weigh.choice import UsageError
from weigh.compress.quantize import Quantizer, QuantizeTask
from weigh.data.cache import replacing
from weigh.model.artefact import Artefact, artefact, digest
from weigh.model.rows_bench import RowsBench


def write_model(task: QuantizeTask, option: Quantizer, to: Path, overwrite: bool) -> Path:
    """What `weigh.compress.quantize.convert` does."""
    if missing := option.needs.missing():
        raise UsageError(f"{option.spec} cannot run here: {'; '.join(missing)}")
    if to.is_dir():
        raise UsageError(f"{to} is a folder; name the file to write, such as {to / task.model.name}")
    bench = RowsBench(task, seed=0)
    made = artefact(option, bench.model, bench.split.calibration)
    copies = {source: target for source, target in _places(made, to).items() if not _same(source, target)}
    for target in copies.values():
        _need_free(target, task, overwrite)
    for source, target in reversed(copies.items()):
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)
    return to


def _places(made: Artefact, to: Path) -> dict[Path, Path]:
    """Where each file goes: the model to its place, and what it names inside keeps its name beside it."""
    folder = made.path.parent
    return {file: to if file == made.path else to.parent / file.relative_to(folder) for file in made.files}


def _same(source: Path, target: Path) -> bool:
    return target.is_file() and digest(source) == digest(target)


def _need_free(target: Path, task: QuantizeTask, overwrite: bool) -> None:
    if not target.exists():
        return
    if target.samefile(task.model) or target.samefile(task.data):
        raise UsageError(f"{target} is what the decision was made on, which is never overwritten; write elsewhere")
    if not overwrite:
        raise UsageError(f"{target} exists and holds something else; write elsewhere, or pass overwrite=True")
