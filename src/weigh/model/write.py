"""The chosen model as a file, or a folder, of the user's."""

from __future__ import annotations

import shutil
from pathlib import Path

from weigh.choice import UsageError
from weigh.data.cache import replacing
from weigh.model import measures
from weigh.model.artefact import Artefact, artefact, digest
from weigh.model.task import Converter, ModelTask


def convert(task: ModelTask, option: Converter, to: Path | str, overwrite: bool = False) -> Path:
    """Write the model that an option makes of a task's: the files that were measured, byte by byte.

    They come out of the cache, or are made again where the cache was emptied: an option makes the same bytes of the
    same model and rows under the same versions of weigh and its libraries. A decision's report has the SHA-256 of each.

    Args:
        task: the task that was decided on; its seed does not matter.
        option: `catalog.find(catalog.choice("compress/quantize"), decision.chosen)`.
        to: the file (the folder, of a Hugging Face model) to write; what lies above it is made. What else an ONNX
            artefact consists of goes beside it under the names by which the model knows it.
        overwrite: replace other files of those names. One with the same content is left alone in any case.

    Returns: the path, ready for `onnxruntime.InferenceSession`, `torch.export.load` or `from_pretrained`.

    Raises:
        UsageError: the task cannot be used; or a file exists with other content, or is the task's own model or data.
        Unfit: the option can do nothing for the model.
        OSError: a file cannot be written.
    """
    return copied(made_of(task, option), task, Path(to), overwrite)


def made_of(task: ModelTask, option: Converter) -> Artefact:
    """The artefact of an option on a task.

    Raises:
        UsageError: the option cannot run here, or the task cannot be used.
        Unfit: the option can do nothing for the model.
    """
    if missing := option.needs.missing():
        raise UsageError(f"{option.spec} cannot run here: {'; '.join(missing)}")
    if measures.kind_of(task) == "language":
        from weigh.model.text_bench import TextBench

        text = TextBench(task, seed=0)
        return artefact(option, text.source, text.calibration)
    from weigh.model.rows_bench import RowsBench

    rows = RowsBench(task, seed=0)
    return artefact(option, rows.model, rows.split.calibration)


def copied(made: Artefact, task: ModelTask, to: Path, overwrite: bool) -> Path:
    """The files of an artefact at their place of the user's; what `convert` does."""
    if made.path.is_file() and to.is_dir():
        raise UsageError(f"{to} is a folder; name the file to write, such as {to / made.path.name}")
    if made.path.is_dir() and to.is_file():
        raise UsageError(f"{to} is a file; the model is a folder: name one to write, such as {to.with_suffix('')}")
    copies = {source: target for source, target in _places(made, to).items() if not _same(source, target)}
    for target in copies.values():
        _need_free(target, task, overwrite)
    for source, target in reversed(copies.items()):
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)
    return to


def _places(made: Artefact, to: Path) -> dict[Path, Path]:
    """Where each file goes: the model to its place, and what it names inside keeps its name beside it."""
    if made.path.is_dir():
        return {file: to / file.relative_to(made.path) for file in made.files if file.is_relative_to(made.path)}
    folder = made.path.parent
    return {file: to if file == made.path else to.parent / file.relative_to(folder) for file in made.files}


def _same(source: Path, target: Path) -> bool:
    return target.is_file() and digest(source) == digest(target)


def _need_free(target: Path, task: ModelTask, overwrite: bool) -> None:
    if not target.exists():
        return
    own = task.files().values()
    if any(
        target.samefile(path) or (path.is_dir() and target.resolve().is_relative_to(path.resolve())) for path in own
    ):
        raise UsageError(f"{target} is what the decision was made on, which is never overwritten; write elsewhere")
    if not overwrite:
        raise UsageError(f"{target} exists and holds something else; write elsewhere, or pass overwrite=True")
