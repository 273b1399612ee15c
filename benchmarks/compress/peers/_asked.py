"""What a peer is asked, and its own metric: shared by the scripts, which run in environments of theirs."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "TELEMETRY_DISABLED": "1", "DO_NOT_TRACK": "1"}

import numpy as np


class Job:
    """One draw: a model, rows to judge on and to calibrate on, a floor.

    Attributes:
        evaluations: accuracy and kilobytes of each model that the peer asked about, in order.
        rows: rows that models answered for that, in all.
    """

    def __init__(self, told: dict[str, Any]) -> None:
        self._start(told)
        self.threshold = told["threshold"]
        with np.load(told["data"]) as rows:
            self.x, self.y = rows["X"], rows["y"]
        with np.load(told["calibration"]) as rows:
            self.calibration = rows["X"]

    def _start(self, told: dict[str, Any]) -> None:
        self.model, self.floor, self.folder = Path(told["model"]), float(told["floor"]), Path(told["folder"])
        self.evaluations: list[tuple[float, float]] = []
        self.rows = 0

    def accuracy(self, model: bytes | str) -> float:
        """Share of the rows that a model answers rightly."""
        import onnxruntime as ort

        settings = ort.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        session = ort.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
        raw = session.run(None, {session.get_inputs()[0].name: self.x})[0].reshape(len(self.x), -1)
        answers = raw[:, 0] > self.threshold if self.threshold is not None else raw.argmax(axis=1)
        found = float((answers == self.y).mean())
        self.evaluations.append(
            (found, len(model) / 1000 if isinstance(model, bytes) else os.path.getsize(model) / 1000)
        )
        self.rows += len(self.x)
        return found

    def afterwards(self) -> dict[str, Any]:
        """What else is told of the answer; looked up when its time was taken."""
        return {}


def serve(choose: Callable[[Any], tuple[Path | None, str]], opened: Callable[[dict[str, Any]], Any] = Job) -> None:
    """Answer the jobs of the file that is named on the command line, a line each in the file named after it.

    Args:
        opened: makes a job of a line. What of it is the peer's work counts as its time.
    """
    jobs, answers = sys.argv[1:]
    with open(answers, "a") as out:
        for line in Path(jobs).read_text().splitlines():
            told, start = json.loads(line), time.process_time()
            job = opened(told)
            chosen, what = choose(job)
            spent = time.process_time() - start
            body = {
                "key": told["key"], "chosen": str(chosen) if chosen else "", "what": what, "rows": job.rows,
                "trials": len(job.evaluations) - 1, "evaluations": job.evaluations, "cpu_seconds": spent,
                **job.afterwards(),
            }  # fmt: skip
            out.write(json.dumps(body) + "\n")
            out.flush()
