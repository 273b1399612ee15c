"""The chosen model as a file, or a folder, of the user's."""

from __future__ import annotations

import ctypes
import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weigh.choice import UsageError
from weigh.data.cache import replacing, sweep
from weigh.model import measures
from weigh.model.artefact import Artefact, artefact, digest
from weigh.model.source import Source
from weigh.model.task import Converter, ModelTask

CARD = "README.md"
AT_CWD, EXCHANGE = -100, 2
"""Of Linux: paths as they are given; swap two files (renameat2)."""
MARK = "weigh"
"""The first tag of a card; folders whose card has it were written here, and may be replaced."""

_OF_MODELS = (
    "*.safetensors", "*.onnx", "*.onnx.data", "*.pt2", "*.gguf", "*.json", "*.jinja", "*.model", "vocab.txt",
    "merges.txt", "README.md",
)  # fmt: skip


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
    made, _ = made_of(task, option)
    need_place(made.path, Path(to))
    if made.path.is_dir():
        with whole_folder(Path(to), task, overwrite) as folder:
            copy_into(made, folder)
    else:
        copy_files(made, task, Path(to), overwrite)
    return Path(to)


def made_of(task: ModelTask, option: Converter) -> tuple[Artefact, Source]:
    """The artefact of an option on a task, and the task's model, opened.

    Raises:
        UsageError: the option cannot run here, or the task cannot be used.
        Unfit: the option can do nothing for the model.
    """
    if missing := option.needs.missing():
        raise UsageError(f"{option.spec} cannot run here: {'; '.join(missing)}")
    if measures.kind_of(task) == "language":
        from weigh.model.text_bench import TextBench

        text = TextBench(task, seed=0)
        return artefact(option, text.source, text.calibration), text.source
    from weigh.model.rows_bench import RowsBench

    rows = RowsBench(task, seed=0)
    return artefact(option, rows.model, rows.split.calibration), rows.model


def need_place(made: Path, to: Path) -> None:
    """Raises `UsageError` when a folder is to be written as a file, or a file as a folder."""
    if made.is_file() and to.is_dir():
        raise UsageError(f"{to} is a folder; name the file to write, such as {to / made.name}")
    if made.is_file() and to.suffix != made.suffix:
        raise UsageError(f"what was chosen is a {made.suffix} file; name it so: {to.with_suffix(made.suffix)}")
    if made.is_dir() and (to.is_file() or to.suffix in (".onnx", ".pt2", ".gguf", ".safetensors")):
        also = f" (for a {to.suffix[1:].upper()} file: --as {to.suffix[1:]})" if to.suffix in (".onnx", ".gguf") else ""
        raise UsageError(
            f"a Hugging Face model goes with its tokenizer into a folder, and {to} names a file; name a folder, such "
            f"as {to.with_suffix('')}{also}"
        )


def copy_into(made: Artefact, folder: Path, inner: str = "") -> None:
    """The files of an artefact into a folder; one that is a file is called `inner` there."""
    home = made.path.parent if inner else made.path
    for file in made.files:
        if file.is_relative_to(home):
            target = folder / (inner if file == made.path else file.relative_to(home))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


def copy_files(made: Artefact, task: ModelTask, to: Path, overwrite: bool) -> None:
    """The files of an artefact that is a file: the model to its place, and what it names inside beside it."""
    folder = made.path.parent
    places = {file: to if file == made.path else to.parent / file.relative_to(folder) for file in made.files}
    copies = {source: target for source, target in places.items() if not _same(source, target)}
    for target in copies.values():
        need_free(target, task, overwrite)
    for source, target in reversed(copies.items()):
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)


@contextmanager
def whole_folder(to: Path, task: ModelTask, overwrite: bool) -> Iterator[Path]:
    """An empty folder beside `to` that takes its place when the block ends well, and is removed otherwise.

    Readers see no folder, the old one or the new one, never half of one, also when several processes write it.

    Raises:
        UsageError: `to` is, holds or lies in the task's own files; or it exists with other content, and is not to be
            overwritten, or was not written by weigh.
    """
    _need_apart(to, task)
    to.parent.mkdir(parents=True, exist_ok=True)
    sweep(to.parent, f".{glob.escape(to.name)}.{'[0-9a-f]' * 32}.tmp")
    temporary = to.parent / f".{to.name}.{uuid.uuid4().hex}.tmp"
    try:
        temporary.mkdir()
        yield temporary
        _settle(temporary, to, overwrite)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _settle(new: Path, to: Path, overwrite: bool) -> None:
    try:
        os.rename(new, to)  # takes an empty folder's place too
        return
    except OSError:
        if not to.exists():
            raise
    if not to.is_dir():
        raise UsageError(f"{to} is a file; the model is a folder: name one to write, such as {to.with_suffix('')}")
    if _alike(new, to):
        return
    if not overwrite:
        raise UsageError(f"{to} exists and holds something else; write elsewhere, or pass overwrite=True (--overwrite)")
    if not marked(to / CARD):
        raise UsageError(f"{to} was not written by weigh, and a folder is replaced as a whole; name another")
    if strange := _strange(new, to):
        some = ", ".join(strange[:3]) + (" and others" if len(strange) > 3 else "")
        raise UsageError(f"{to} holds {some}, which weigh did not write: move it away, or name another folder")
    _exchange(new, to)


def _strange(new: Path, to: Path) -> list[str]:
    """Files of the old folder that are neither in the new one nor what goes with a model."""
    names = (path.relative_to(to) for path in sorted(to.rglob("*")) if path.is_file())
    return [str(name) for name in names if not (new / name).exists() and not any(map(name.match, _OF_MODELS))]


def _exchange(new: Path, to: Path) -> None:
    """Swap two folders, of which the old one is then removed; at once where the file system can."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is not None and call(AT_CWD, os.fsencode(new), AT_CWD, os.fsencode(to), EXCHANGE) == 0:
        return
    old = new.with_suffix(".old")
    os.rename(to, old)
    try:
        os.rename(new, to)
    except OSError:
        os.rename(old, to)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _alike(one: Path, other: Path) -> bool:
    names = [sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file()) for root in (one, other)]
    return names[0] == names[1] and all(_same(one / name, other / name) for name in names[0])


def marked(card: Path) -> bool:
    """Whether a card was written by weigh."""
    return card.is_file() and f'tags: ["{MARK}"' in card.read_text(encoding="utf-8", errors="replace")[:2000]


def _same(source: Path, target: Path) -> bool:
    try:
        return target.is_file() and digest(source) == digest(target)
    except FileNotFoundError:  # it was replaced in this moment
        return False


def _need_apart(to: Path, task: ModelTask) -> None:
    """Raises `UsageError` when a folder to write has to do with what the decision was made on."""
    place = to.resolve()
    for path in task.files().values():
        own = path.resolve()
        if place.is_relative_to(own) or own.is_relative_to(place):
            raise UsageError(f"{to} is, or holds, what the decision was made on ({path}), which is never overwritten; "
                             "write elsewhere")  # fmt: skip


def need_free(target: Path, task: ModelTask, overwrite: bool) -> None:
    """Raises `UsageError` when a file is the task's own, or exists and is not to be overwritten."""
    if not target.exists():
        return
    own = task.files().values()
    if any(
        target.samefile(path) or (path.is_dir() and target.resolve().is_relative_to(path.resolve())) for path in own
    ):
        raise UsageError(f"{target} is what the decision was made on, which is never overwritten; write elsewhere")
    if not overwrite:
        raise UsageError(
            f"{target} exists and holds something else; write elsewhere, or pass overwrite=True (--overwrite)"
        )
