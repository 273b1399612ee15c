"""Olive's own rule: a search over its quantization pass, of which the smallest model that meets the goal is taken."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

os.environ["OLIVE_DISABLE_TELEMETRY"] = "1"

import _asked
import numpy as np
import onnx
import torch
from olive.data.registry import Registry
from olive.workflows import run

TRIALS = 12
TOGETHER = 250
_jobs: list[_asked.Job] = []


class Rows:
    """Rows and answers as torch's loaders want them."""

    def __init__(self, x: Any, y: Any, name: str) -> None:
        self._x, self._y, self._name = x, y, name

    def __len__(self) -> int:
        return len(self._x)

    def __getitem__(self, place: int) -> tuple[dict[str, Any], Any]:
        return {self._name: self._x[place]}, self._y[place]


@Registry.register_dataset()
def weigh_rows(part: str = "judged", **more: Any) -> Rows:
    job = _jobs[-1]
    name = onnx.load(job.model).graph.input[0].name
    if part == "judged":
        return Rows(job.x, job.y, name)
    return Rows(job.calibration, np.zeros(len(job.calibration), dtype=np.int64), name)


@Registry.register_post_process()
def weigh_answers(scores: Any, **more: Any) -> Any:
    """Classes; every row that comes by was answered by a model."""
    job = _jobs[-1]
    job.rows += len(scores)
    table = scores.reshape(len(scores), -1)
    return (table[:, 0] > job.threshold).long() if job.threshold is not None else table.argmax(dim=1)


def settings(job: _asked.Job) -> dict[str, Any]:
    """What Olive is told: the smallest file, and an accuracy that falls by no more than the floor."""
    classes = {"task": "multiclass", "num_classes": int(job.y.max()) + 1}
    goal = {"type": "max-degradation", "value": job.floor}
    accuracy = {"name": "accuracy_score", "priority": 2, "metric_config": classes, "goal": goal}
    return {
        "input_model": {"type": "ONNXModel", "model_path": str(job.model)},
        "data_configs": [_rows("judged", TOGETHER), _rows("calibration", 1)],
        "evaluators": {"judge": {"metrics": [
            {"name": "size", "type": "size_on_disk", "sub_types": [{"name": "bytes", "priority": 1}]},
            {"name": "accuracy", "type": "accuracy", "data_config": "judged", "sub_types": [accuracy]},
        ]}},
        "passes": {"quantize": {"type": "OnnxQuantization", "data_config": "calibration"}},
        "search_strategy": {
            "execution_order": "joint", "sampler": "tpe", "max_iter": TRIALS, "sampler_config": {"seed": 0},
            "output_model_num": 1,
        },
        "evaluator": "judge", "cache_dir": str(job.folder / "cache"), "output_dir": str(job.folder / "out"),
        "log_severity_level": 4, "evaluate_input_model": False,
    }  # fmt: skip


def _rows(name: str, batch: int) -> dict[str, Any]:
    return {
        "name": name, "load_dataset_config": {"type": "weigh_rows", "params": {"part": name}},
        "pre_process_data_config": {"type": "skip_pre_process"},
        "post_process_data_config": {"type": "weigh_answers"},
        "dataloader_config": {"type": "default_dataloader", "params": {"batch_size": batch}},
    }  # fmt: skip


def choose(job: _asked.Job) -> tuple[Path | None, str]:
    """The best of Olive's output models, as it ranks them."""
    torch.set_num_threads(1)
    _jobs.append(job)
    job.folder.mkdir(parents=True, exist_ok=True)
    best = run(settings(job)).get_best_candidate()
    job.evaluations = [(0.0, 0.0)] * (job.rows // len(job.x))
    shutil.rmtree(job.folder / "cache", ignore_errors=True)
    if best is None:
        return None, "no model met the goal"
    kept = job.folder / "model.onnx"
    shutil.copyfile(best.model_path, kept)
    shutil.rmtree(job.folder / "out", ignore_errors=True)
    return kept, str(best.metrics_value)


if __name__ == "__main__":
    _asked.serve(choose)
