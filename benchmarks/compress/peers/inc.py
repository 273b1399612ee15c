"""Intel Neural Compressor's own rule: the first configuration whose measured accuracy keeps to the floor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _asked
import onnx
from neural_compressor import PostTrainingQuantConfig, quantization
from neural_compressor.config import AccuracyCriterion, TuningCriterion

TRIALS = 30


class Loader:
    """Calibration rows, one at a time, as Neural Compressor reads them."""

    batch_size = 1

    def __init__(self, job: _asked.Job) -> None:
        self._name = onnx.load(job.model).graph.input[0].name
        self._rows = job.calibration

    def __iter__(self) -> Iterator[Any]:
        for row in self._rows:
            yield {self._name: row[None]}, 0


def choose(job: _asked.Job) -> tuple[Path | None, str]:
    """What `quantization.fit` returns; nothing where no configuration kept to the floor."""
    return fitted(job, Loader(job), len(job.calibration))


def fitted(job: _asked.Job, loader: Any, count: int) -> tuple[Path | None, str]:
    """The same with a loader of so many calibration rows."""
    settings = PostTrainingQuantConfig(
        approach="auto",
        calibration_sampling_size=[count],
        accuracy_criterion=AccuracyCriterion(criterion="absolute", tolerable_loss=job.floor),
        tuning_criterion=TuningCriterion(timeout=0, max_trials=TRIALS),
    )
    found = quantization.fit(
        onnx.load(job.model), settings, calib_dataloader=loader,
        eval_func=lambda model: job.accuracy(model.SerializeToString()),
    )  # fmt: skip
    if found is None:
        return None, "no configuration kept to the floor"
    job.folder.mkdir(parents=True, exist_ok=True)
    onnx.save(found.model, job.folder / "model.onnx")
    return job.folder / "model.onnx", f"configuration {len(job.evaluations) - 1}"


if __name__ == "__main__":
    _asked.serve(choose)
