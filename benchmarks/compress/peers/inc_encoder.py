"""Intel Neural Compressor's own rule on a sentence encoder: `inc.py`, with texts in place of rows of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _asked
import inc
import numpy as np
import onnxruntime as ort


class Texts(_asked.Job):
    """One draw of labelled texts, in tokens; a vector answers with the label whose centre is the nearest.

    The centres are those of the float model's vectors of the texts that calibrate, for every candidate.
    """

    def __init__(self, told: dict[str, Any]) -> None:
        self._start(told)
        with np.load(told["data"]) as arrays:
            self._judged, self.y = _feed(arrays, "judged"), arrays["judged_labels"]
            self.calibration, labels = _feed(arrays, "calibration"), arrays["calibration_labels"]
        vectors = self._vectors(str(self.model), self.calibration)
        self._names = sorted(set(labels.tolist()))
        means = np.stack([vectors[labels == name].mean(0) for name in self._names])
        self._centres = means / np.linalg.norm(means, axis=1, keepdims=True)

    def accuracy(self, model: bytes | str) -> float:
        """Share of the texts that a model answers rightly."""
        near = (self._vectors(model, self._judged) @ self._centres.T).argmax(1)
        found = float((np.array(self._names)[near] == self.y).mean())
        self.evaluations.append((found, len(model) / 1000))
        self.rows += len(self.y)
        return found

    def _vectors(self, model: bytes | str, feed: dict[str, Any]) -> Any:
        """A text at a time, as it will be served: ranges that are found at run time then owe nothing to its company."""
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        session = ort.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
        return np.concatenate([session.run(None, row)[0] for row in one_by_one(feed)])


def _feed(arrays: Any, part: str) -> dict[str, Any]:
    return {name: arrays[f"{part}_{name}"] for name in ("input_ids", "attention_mask")}


def one_by_one(feed: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Feeds of one row."""
    for place in range(len(next(iter(feed.values())))):
        yield {name: values[place : place + 1] for name, values in feed.items()}


class Loader:
    """Calibration texts, one at a time, as Neural Compressor reads them."""

    batch_size = 1

    def __init__(self, job: Texts) -> None:
        self._feed = job.calibration

    def __iter__(self) -> Iterator[Any]:
        for row in one_by_one(self._feed):
            yield row, 0


def choose(job: Texts) -> tuple[Path | None, str]:
    """What `quantization.fit` returns; nothing where no configuration kept to the floor."""
    return inc.fitted(job, Loader(job), len(next(iter(job.calibration.values()))))


if __name__ == "__main__":
    _asked.serve(choose, Texts)
