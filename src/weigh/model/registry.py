"""Models by MLflow URI: where their copy lies on this machine."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import uuid
from pathlib import Path

from weigh.choice import UsageError
from weigh.data.cache import cache_folder

SCHEMES = ("models:/", "runs:/", "mlflow-artifacts:/")


def is_uri(path: Path) -> bool:
    """Whether a model is named by an MLflow URI."""
    return str(path).startswith(SCHEMES)


def located(path: Path) -> Path:
    """The path itself; of an MLflow URI the folder or file that holds a model weigh opens, fetched once.

    Raises:
        UsageError: mlflow is missing, the URI names nothing, or nothing in it can be opened without unpickling.
    """
    if not is_uri(path):
        return path
    return _inside(_fetched(str(path)), str(path))


@functools.cache
def _fetched(uri: str) -> Path:
    """The folder of an MLflow model, fetched once: a version never changes, and an alias is read anew each run."""
    try:
        import mlflow
    except ImportError:
        told = f"model={uri} is an MLflow URI, and mlflow is not installed"
        raise UsageError(f"{told}: pip install 'weigh[mlflow]'") from None
    try:
        version = _version(uri)
        key = hashlib.sha256(f"{mlflow.get_tracking_uri()} {version}".encode()).hexdigest()[:32]
        home = cache_folder() / "mlflow" / key
        if not home.is_dir():
            _download(version, home)
        return home
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise UsageError(
            f"model={uri} cannot be fetched from {mlflow.get_tracking_uri()}: {str(error).splitlines()[0]:.200}; set "
            "MLFLOW_TRACKING_URI to where it is registered"
        ) from None


def _version(uri: str) -> str:
    """A registered model by its version, where it is named by an alias or as the latest."""
    import mlflow

    name, at, alias = uri.removeprefix("models:/").partition("@")
    if uri.startswith("models:/") and at:
        return f"models:/{name}/{mlflow.MlflowClient().get_model_version_by_alias(name, alias).version}"
    if uri.startswith("models:/") and uri.endswith("/latest"):
        known = mlflow.MlflowClient().search_model_versions(f"name = '{name.removesuffix('/latest')}'")
        return f"models:/{name.removesuffix('/latest')}/{max(int(one.version) for one in known)}" if known else uri
    return uri


def _download(uri: str, home: Path) -> None:
    """Into a folder of its own, which takes its place when it is whole."""
    import mlflow

    folder = home.with_name(f".{uuid.uuid4().hex}")
    folder.mkdir(parents=True)
    shown = os.environ.get("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR")
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = shown or "false"
    try:
        mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder))
        for file in folder.rglob("*.onnx"):
            _in_one_file(file)
        with contextlib.suppress(FileExistsError):  # another process was first
            os.rename(folder, home)
    finally:
        if shown is None:
            del os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"]
        shutil.rmtree(folder, ignore_errors=True)


def _in_one_file(file: Path) -> None:
    """MLflow keeps the weights of an ONNX model beside it; here they go into it."""
    import onnx

    beside = [other for other in file.parent.iterdir() if other.suffix == ".data"]
    if beside:
        onnx.save(onnx.load(file), file, save_as_external_data=False)
        for other in beside:
            other.unlink()


def _inside(folder: Path, uri: str) -> Path:
    """The one model in a downloaded MLflow folder."""
    for found in (
        *sorted(folder.rglob("config.json")),
        *sorted(folder.rglob("*.onnx")),
        *sorted(folder.rglob("*.pt2")),
    ):
        return found.parent if found.name == "config.json" else found
    flavours = ", ".join(sorted(file.name for file in folder.rglob("*") if file.is_file())[:6])
    raise UsageError(
        f"model={uri} holds no Hugging Face folder, .onnx or .pt2 file ({flavours}); log it with mlflow.transformers, "
        "mlflow.onnx, or as a .pt2 file"
    )
