"""A scikit-learn model in a pickle, opened only at the user's word and written as ONNX once."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path
from typing import Any

from weigh.choice import UsageError, content_digest
from weigh.data.cache import cache_folder, replacing

PROTOCOLS = tuple(b"\x80" + bytes([version]) for version in range(2, 6))


def is_pickle(content: bytes) -> bool:
    """Whether a file begins as pickles do (those of joblib too, where they are not compressed)."""
    return content.startswith(PROTOCOLS)


def as_onnx(path: Path, content: bytes) -> Path:
    """The ONNX form of a pickled estimator, in the cache folder; unpickling runs whatever code the file holds.

    Raises:
        UsageError: scikit-learn or skl2onnx is missing, or what the file holds cannot be written as ONNX.
    """
    try:
        versions = [importlib.metadata.version(name) for name in ("scikit-learn", "skl2onnx")]
    except importlib.metadata.PackageNotFoundError as error:
        raise UsageError(f"{error.name} is needed to convert {path}: pip install 'weigh[pickled]'") from None
    key = content_digest([hashlib.sha256(content).hexdigest(), versions])[7:39]
    target = cache_folder() / "models" / f"{key}.onnx"
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        made = _converted(path)
        with replacing(target) as temporary:
            temporary.write_bytes(made)
    return target


def _converted(path: Path) -> bytes:
    import joblib
    import numpy as np
    from skl2onnx import to_onnx
    from sklearn.base import BaseEstimator, is_classifier

    try:
        model: Any = joblib.load(path)
    except Exception as error:  # a pickle may raise anything
        raise UsageError(f"{path} cannot be unpickled: {type(error).__name__}: {error}") from None
    if not isinstance(model, BaseEstimator) or not hasattr(model, "n_features_in_"):
        raise UsageError(f"{path} holds {type(model).__name__}; give a fitted scikit-learn estimator, or an .onnx file")
    example = np.zeros((1, model.n_features_in_), dtype=np.float32)
    options = {"zipmap": False} if is_classifier(model) else None
    try:
        return bytes(to_onnx(model, example, options=options).SerializeToString())
    except Exception as error:  # skl2onnx raises errors of many kinds
        why = f"{type(error).__name__}: {str(error).partition(chr(10))[0]:.200}"
        raise UsageError(
            f"{path} cannot be written as ONNX by skl2onnx ({why}); export it yourself, with the types of its columns: "
            "skl2onnx.to_onnx(model, rows)"
        ) from None
