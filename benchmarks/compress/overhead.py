"""What measuring through weigh costs beside the bare calls of ONNX Runtime that do the same work."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.compress import material
from benchmarks.compress.material import Material
from weigh.scale.interval import Interval
from weigh.scale.ratio import median_ratio

TASKS = ("flights", "fashion")
ROWS, ROUNDS, RUNS, WARMUP = 9_000, 300, 20, 5
"""The defaults of a task: 300 rounds over the rows, 20 timed runs and 5 before them in each."""


def measured(name: str) -> Interval:
    """CPU time of a trial against that of the bare calls, in turns, in an order drawn anew for each block."""
    subject = material.load(name)
    with tempfile.TemporaryDirectory() as folder:
        return _pairs(subject, Path(folder))


def _pairs(subject: Material, folder: Path) -> Interval:
    from weigh import catalog
    from weigh.choice import Block
    from weigh.compress.quantize import QuantizeTask

    np.savez(folder / "rows.npz", X=subject.x[:ROWS], y=subject.y[:ROWS])
    np.savez(folder / "calibration.npz", X=subject.pool[:200])
    task = QuantizeTask(
        model=subject.models["float32"], data=folder / "rows.npz", calibration=folder / "calibration.npz",
        held_back=0.0, rounds=ROUNDS, runs=RUNS, warmup=WARMUP, **subject.answer,
    )  # fmt: skip
    choice = catalog.choice("compress/quantize")
    bench = choice.open(task, 0)
    option = catalog.find(choice, "int8_static")
    prepared, first = bench.prepare(option), bench.prepare(catalog.find(choice, "none"))
    path = folder / "bare.onnx"
    path.write_bytes(_file(prepared).read_bytes())
    random, taken = np.random.default_rng(0), np.empty((ROUNDS, 2))
    gc.disable()
    try:
        for place in range(ROUNDS):
            block = Block(index=place, seed=place)
            bench.trial(first, block)  # whoever is first fetches what all share
            x, y = _rows(subject, place)
            calls: tuple[Callable[[], Any], ...] = (
                lambda block=block: bench.trial(prepared, block),
                lambda x=x, y=y: _bare(path, subject, x, y),
            )
            for side in random.permutation(2).tolist():
                start = time.process_time_ns()
                calls[side]()
                taken[place, side] = time.process_time_ns() - start
    finally:
        gc.enable()
    return median_ratio(taken[:, 0], taken[:, 1], 0.05)


def _file(prepared: Any) -> Path:
    """The file of a prepared option."""
    found: Path = prepared.made.path
    return found


def _rows(subject: Material, place: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """As many rows as a block has."""
    part = ROWS // ROUNDS
    return subject.x[place * part : (place + 1) * part], subject.y[place * part : (place + 1) * part]


def _bare(path: Path, subject: Material, x: NDArray[np.float32], y: NDArray[np.int64]) -> tuple[float, list[float]]:
    """A session, a row at a time, what is right; then the runs that warm up and the timed ones: plain ONNX Runtime."""
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = 4
    settings.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name
    raw = np.concatenate([session.run([output], {name: x[i : i + 1]})[0] for i in range(len(x))]).reshape(len(x), -1)
    threshold = subject.answer.get("threshold")
    answers = raw[:, 0] > threshold if threshold is not None else raw.argmax(axis=1)
    right, row, times = float((answers == y).mean()), {name: x[:1]}, []
    for place in range(WARMUP + RUNS):
        start = time.perf_counter_ns()
        session.run([output], row)
        if place >= WARMUP:
            times.append((time.perf_counter_ns() - start) / 1e6)
    return right, times
