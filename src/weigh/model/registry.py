"""Models by MLflow URI: where their copy lies on this machine."""

from __future__ import annotations

import hashlib
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
    home = cache_folder() / "mlflow" / hashlib.sha256(str(path).encode()).hexdigest()[:32]
    return _inside(_fetched(str(path), home), str(path))


def _fetched(uri: str, home: Path) -> Path:
    try:
        import mlflow
    except ImportError:
        raise UsageError(
            f"model={uri} is an MLflow URI, and mlflow is not installed: pip install 'weigh[mlflow]'"
        ) from None
    home.mkdir(parents=True, exist_ok=True)
    try:
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(home)))
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise UsageError(
            f"model={uri} cannot be fetched from {mlflow.get_tracking_uri()}: {str(error).splitlines()[0]:.200}; set "
            "MLFLOW_TRACKING_URI to where it is registered"
        ) from None


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
