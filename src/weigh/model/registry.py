"""Models by MLflow URI: where their copy lies on this machine."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from weigh.choice import UsageError
from weigh.data.cache import cache_folder

SCHEMES = ("models:/", "runs:/", "mlflow-artifacts:/")
FILES = (".onnx", ".pt2", ".gguf")


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
        told = f"{mlflow.get_tracking_uri()} {version} {_origin(version)}"
        key = hashlib.sha256(told.encode()).hexdigest()[:32]
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


def pinned(path: str) -> str:
    """A path as it is; of an alias in MLflow's registry the version that it names now.

    Raises:
        UsageError: mlflow is missing, or knows no such model.
    """
    if not is_uri(Path(path)):
        return path
    need_mlflow(path.removeprefix("models:/").partition("@")[0].partition("/")[0])
    import mlflow

    try:
        return _version(path)
    except mlflow.exceptions.MlflowException as error:
        raise UsageError(
            f"{path} is not known at {mlflow.get_tracking_uri()}: {str(error).splitlines()[0]:.200}; set "
            "MLFLOW_TRACKING_URI to where it is registered"
        ) from None


def registered_version(path: str) -> tuple[str, str] | None:
    """Name and version of a registered model; None for any other path.

    >>> registered_version("models:/flights/3"), registered_version("flights.onnx")
    (('flights', '3'), None)
    """
    name, _, version = path.removeprefix("models:/").rpartition("/")
    return (name, version) if path.startswith("models:/") and name and version.isdigit() else None


def _origin(uri: str) -> str:
    """Where a version's files lie: a registry that was made anew counts its versions from 1 again."""
    import mlflow

    name, _, version = uri.removeprefix("models:/").rpartition("/")
    if not uri.startswith("models:/") or not name:
        return ""
    return str(mlflow.MlflowClient().get_model_version(name, version).source)


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
    whole = (file for file in sorted(folder.rglob("config.json")) if any(file.parent.glob("*.safetensors")))
    for found in (*whole, *(file for suffix in FILES for file in sorted(folder.rglob(f"*{suffix}")))):
        return found.parent if found.name == "config.json" else found
    flavours = ", ".join(sorted(file.name for file in folder.rglob("*") if file.is_file())[:6])
    raise UsageError(
        f"model={uri} holds no Hugging Face folder with safetensors and no {', '.join(FILES)} file ({flavours}), and a "
        "pickle is not opened, as it can run any code; log it with mlflow.transformers or mlflow.onnx, or `weigh apply "
        "--register`"
    )


def need_mlflow(name: str) -> None:
    """Raises `UsageError` where nothing can be registered under a name."""
    if find_spec("mlflow") is None:
        raise UsageError(f"mlflow is needed to register {name}: pip install 'weigh[mlflow]'")
    if not name.strip() or set(name) & set("/:@"):
        raise UsageError(f"MLflow cannot name a model '{name}': leave / and : and @ out of --register NAME")


def registered(
    path: Path,
    name: str,
    alias: str,
    run_name: str,
    tags: Mapping[str, str],
    figures: Mapping[str, float],
    files: Sequence[Path],
) -> str:
    """A new version of a model in MLflow's registry, with a run of its own that logs the figures.

    Args:
        path: the file, or the folder, of the model.
        name: of the registered model.
        alias: what the version is called; it leaves the version that had it.
        files: what is kept beside it, under ``decision``.

    Returns: ``models:/name/version``.

    Raises:
        UsageError: MLflow refuses.
    """
    import mlflow

    try:
        with mlflow.start_run(run_name=run_name, tags=dict(tags)) as run:
            mlflow.log_metrics(dict(figures))
            for file in files:
                mlflow.log_artifact(str(file), "decision")
            version = _version_of(path, name, dict(tags) | {"weigh.run": run.info.run_id}, run.info.run_id)
        mlflow.MlflowClient().set_registered_model_alias(name, alias, version)
    except mlflow.exceptions.MlflowException as error:
        raise UsageError(
            f"{path} cannot be registered as {name} at {mlflow.get_tracking_uri()}: {str(error).splitlines()[0]:.200}; "
            "set MLFLOW_TRACKING_URI to a registry that is there, such as sqlite:///mlflow.db"
        ) from None
    return f"models:/{name}/{version}"


def _version_of(path: Path, name: str, tags: dict[str, str], run: str) -> str:
    """The model as artefacts of the current run and as a version: an ONNX file in MLflow's own flavour, others as they
    are, as `mlflow.transformers` 3.17 cannot log a folder under transformers 5."""
    import mlflow

    if path.suffix == ".onnx":
        import onnx

        needed = ["onnxruntime"]
        one = mlflow.onnx.log_model(onnx.load(path), name="model", pip_requirements=needed, save_as_external_data=False)
        return str(mlflow.register_model(one.model_uri, name, tags=tags).version)
    if path.is_dir():
        mlflow.log_artifacts(str(path), "model")
    else:
        mlflow.log_artifact(str(path), "model")
    client = mlflow.MlflowClient()
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    return str(client.create_model_version(name, mlflow.get_artifact_uri("model"), run, tags=tags).version)
