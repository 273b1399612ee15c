"""Artefacts: made once, kept by what they were made from, shared by workers and by resumed runs."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import inspect
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from weigh.choice import Unfit, content_digest
from weigh.data.cache import cache_folder, sweep
from weigh.model.source import Source, reason
from weigh.model.task import Calibration, Converter

NAME = "artefact.txt"
VERSIONS = (
    "numpy", "onnx", "onnxruntime", "onnxscript", "openvino", "gguf", "torch", "transformers", "torchao",
    "bitsandbytes", "torch-pruning", "trl",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Artefact:
    """What an option made of a model.

    Attributes:
        path: the file, or the Hugging Face folder.
        files: every file that it cannot do without, the model first.
        sha256: of the first file, in hexadecimal digits.
    """

    path: Path
    files: tuple[Path, ...]
    sha256: str

    @property
    def megabytes(self) -> float:
        """Of the files that hold weights; a folder's tokenizer and config are left out."""
        weights = [file for file in self.files if file.suffix == ".safetensors"] if self.path.is_dir() else self.files
        return sum(file.stat().st_size for file in weights) / 1e6


def artefact(option: Converter, model: Source, calibration: Calibration) -> Artefact:
    """What the option makes of the model; the model's own file where it changes nothing.

    It lies in the cache folder under a name made of everything that it depends on, and appears whole or not at all;
    one that was damaged since, or deleted, is made again.

    Raises:
        Unfit: the option can do nothing for the model, or what it made cannot be loaded.
        ValueError: the option wrote elsewhere than it was told.
    """
    home = artefacts()
    target = home / key(option, model, calibration)[7:39]
    if found := _read(target):
        return found
    with _folder_in(home) as folder:
        made = option.convert(model, calibration, folder)
        if made.resolve() == model.path.resolve():
            return unchanged(model)
        _need_loadable(made, folder)
        (folder / NAME).write_text(_listed(made, folder))
        _publish(folder, target)
    whole = _read(target)
    assert whole is not None
    return whole


def unchanged(model: Source) -> Artefact:
    """The model itself as an artefact."""
    if model.path.is_file():
        return Artefact(model.path, (model.path,), model.digest)
    files = sorted(file for file in model.path.rglob("*") if file.is_file())
    return Artefact(model.path, tuple(sorted(files, key=lambda file: file.suffix != ".safetensors")), model.digest)


def artefacts() -> Path:
    """The folder that keeps all of them; it can be deleted at any time."""
    return cache_folder() / "artefacts"


@contextmanager
def _folder_in(home: Path) -> Iterator[Path]:
    home.mkdir(parents=True, exist_ok=True)
    sweep(home, f".{'[0-9a-f]' * 32}")
    folder = home / f".{uuid.uuid4().hex}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _need_loadable(made: Path, folder: Path) -> None:
    if not made.exists():
        raise ValueError(f"the option says that it wrote {made}, where nothing is")
    if made.suffix != ".onnx":
        return
    from weigh.model.session import load_errors, load_session

    try:
        load_session(made, threads=1)
    except load_errors() as error:
        why = reason(error).replace(str(made), "the new file")
        raise Unfit(f"ONNX Runtime cannot load what came out: {why}") from None


def _listed(made: Path, folder: Path) -> str:
    """Where the model lies, then a line a file, as sha256sum writes them, the model's weights first."""
    if not made.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"the option wrote {made}, which lies outside the folder that it was given")
    files = [file for file in folder.rglob("*") if file.is_file()]
    first = made if made.is_file() else next(iter(sorted(made.glob("*.safetensors"))), None)
    files.sort(key=lambda file: (first is None or not file.samefile(first), file))
    inner = made.resolve().relative_to(folder.resolve()).as_posix()
    rows = (f"{digest(file)}  {file.relative_to(folder).as_posix()}\n" for file in files)
    return f"{inner}\n" + "".join(rows)


def _read(target: Path) -> Artefact | None:
    """The artefact in a folder; None where there is none, or not the one that was written."""
    if not (target / NAME).is_file():
        return None
    try:
        inner, *rows = (target / NAME).read_text().splitlines()
        sums, names = zip(*(row.split("  ", 1) for row in rows))
    except ValueError:  # empty, or not what was written
        return None
    files = tuple(target / name for name in names)
    if any(not file.is_file() or digest(file) != known for file, known in zip(files, sums)):
        return None
    return Artefact(target / inner, files, sums[0])


def _publish(folder: Path, target: Path) -> None:
    """Move the folder to its place, unless another process was first."""
    if target.exists() and _read(target) is None:
        with _folder_in(target.parent) as rubbish:
            os.rename(target, rubbish / target.name)
    try:
        os.rename(folder, target)
    except OSError:
        if _read(target) is None:
            raise


def key(option: Converter, model: Source, calibration: Calibration) -> str:
    """A digest of the model, the option and its code, the calibration rows and the versions of what converts."""
    data = hashlib.sha256()
    for name, values in sorted(calibration.feeds.items()):
        data.update(f"{name} {values.dtype} {values.shape}".encode())
        data.update(repr(values.tolist()).encode() if values.dtype == object else values.tobytes())
    return content_digest(
        {
            "model": [model.digest, architecture_code(model)],
            "option": [type(option).__qualname__, option.spec, option.model_dump(mode="json")],
            "code": [_code(Path(__file__).parent), _code(_home(option))],
            "calibration": [data.hexdigest(), calibration.batch],
            "versions": [_version(name) for name in VERSIONS],
            "reads": [_content(path) for path in option.reads()],
        }
    )


def architecture_code(model: Source) -> str:
    """SHA-256 of the code that builds a net of weights alone, in hexadecimal digits; empty for other models."""
    file = model.architecture.rpartition(":")[0]
    return digest(Path(file)) if file else ""


def _home(option: Converter) -> Path:
    """The code of an option: its file, and for one of weigh's the helpers beside it."""
    file = Path(inspect.getfile(type(option)))
    return file.parent if type(option).__module__.startswith("weigh.") else file


def _content(path: Path) -> str:
    """Of a file, or of all files in a folder."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return " ".join(digest(file) for file in files if file.is_file())


def _version(name: str) -> str:
    """Empty where the package is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


@functools.cache
def _code(path: Path) -> str:
    files = sorted(path.glob("*.py")) if path.is_dir() else [path]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
