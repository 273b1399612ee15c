"""The models of the flights journey: an encoder and a small neural net each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import polars as pl
from numpy.typing import NDArray
from skl2onnx import to_onnx
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from weigh.data import flights


def fit(train: pl.DataFrame, seed: int) -> Pipeline:
    """An encoder and a small neural net that have seen only `train`."""
    net = MLPClassifier((128, 64), batch_size=512, early_stopping=True, n_iter_no_change=3, random_state=seed)
    with threadpool_limits(1):
        return Pipeline([("encoder", flights.encoder()), ("net", net)]).fit(
            flights.numbers(train), train["late"].cast(int).to_numpy()
        )


def export(model: Pipeline, path: Path) -> Path:
    """The net as an ONNX file; its inputs are encoded features."""
    example = np.zeros((1, model["net"].n_features_in_), dtype=np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_onnx(model["net"], example, options={"zipmap": False}).SerializeToString())
    return path


def encoded(model: Pipeline, rows: pl.DataFrame) -> pl.DataFrame:
    """Encoded features and labels of some flights."""
    x = model["encoder"].transform(flights.numbers(rows)).astype(np.float32)
    names = list(model["encoder"].get_feature_names_out())
    return pl.DataFrame(x, schema=names).with_columns(late=rows["late"].cast(pl.Int64))


@dataclass(frozen=True, slots=True)
class Served:
    """The champion as it serves: its encoder, and the net in the file that was chosen."""

    champion: Pipeline
    net: Path

    def predict_proba(self, numbers: pl.DataFrame) -> NDArray[np.float32]:
        """Probabilities of being on time and of being late, shape (rows, 2): a flight at a time, as was measured."""
        session = onnxruntime.InferenceSession(self.net, providers=["CPUExecutionProvider"])
        x = self.champion["encoder"].transform(numbers).astype(np.float32)
        name = session.get_inputs()[0].name
        return np.concatenate([session.run(["probabilities"], {name: x[i : i + 1]})[0] for i in range(len(x))])


def judged(rows: pl.DataFrame, champion: Pipeline | Served, challenger: Pipeline, seed: int) -> pl.DataFrame:
    """Brier score of both models a flight, what the champion expects of its own, and an arm drawn for each flight."""
    x, late = flights.numbers(rows), rows["late"].cast(int).to_numpy()
    old, new = (model.predict_proba(x)[:, 1] for model in (champion, challenger))
    arm = np.random.default_rng(seed).choice(["champion", "challenger"], rows.height)
    losses = {"champion": (old - late) ** 2, "challenger": (new - late) ** 2, "expected": old * (1 - old)}
    return rows.select("time", "month").with_columns(arm=pl.Series(arm), **{k: pl.Series(v) for k, v in losses.items()})
