"""Artefacts: made once, kept by what they were made from, shared by workers and by resumed runs."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import inspect
import os
import shutil
import uuid
from pathlib import Path

from weigh.choice import content_digest
from weigh.compress.quantize import Calibration, Quantizer
from weigh.compress.quantize._model import Model
from weigh.data import cache_folder

NAME = "artefact.txt"


def artefact(option: Quantizer, model: Model, calibration: Calibration) -> Path:
    """The file that the option makes of the model; the model's own file where it changes nothing.

    It lies in the cache folder under a name made of everything that it depends on, and appears whole or not at all.
    """
    home = cache_folder() / "artefacts"
    target = home / key(option, model, calibration)[7:39]
    if not (target / NAME).is_file():
        home.mkdir(parents=True, exist_ok=True)
        folder = home / f".{uuid.uuid4().hex}"
        folder.mkdir()
        try:
            made = option.convert(model.path, calibration, folder)
            if not made.resolve().is_relative_to(folder.resolve()):
                return made
            (folder / NAME).write_text(made.resolve().relative_to(folder.resolve()).as_posix())
            _publish(folder, target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return target / (target / NAME).read_text()


def _publish(folder: Path, target: Path) -> None:
    """Move the folder to its place, unless another process was first."""
    try:
        os.rename(folder, target)
    except OSError:
        if not (target / NAME).is_file():
            raise


def key(option: Quantizer, model: Model, calibration: Calibration) -> str:
    """A digest of the model, the option and its code, the calibration rows and the versions of what converts."""
    data = hashlib.sha256()
    for name, values in sorted(calibration.feeds.items()):
        data.update(f"{name} {values.dtype} {values.shape}".encode())
        data.update(repr(values.tolist()).encode() if values.dtype == object else values.tobytes())
    return content_digest(
        {
            "model": model.digest,
            "option": [type(option).__qualname__, option.spec, option.model_dump(mode="json")],
            "code": [_code(Path(__file__).parent), _code(Path(inspect.getfile(type(option))))],
            "calibration": data.hexdigest(),
            "versions": [importlib.metadata.version(name) for name in ("onnx", "onnxruntime", "numpy")],
        }
    )


@functools.cache
def _code(path: Path) -> str:
    files = sorted(path.glob("*.py")) if path.is_dir() else [path]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def megabytes(path: Path) -> float:
    """Size of an artefact: of a file, or of all files in a folder."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files) / 1e6
