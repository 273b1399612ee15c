"""Samples, histories and benches with known properties, for the tests of monitor/drift."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from weigh.monitor.drift import DriftTask, DriftTest, Sample
from weigh.monitor.drift._bench import DriftBench
from weigh.monitor.drift._levels import scores_of

TOLD = 2.6
"""Standard errors: measured shares are held to 99 % intervals, with seeds that are fixed."""


def sample(*numbers: Any, codes: Any = (), levels: tuple[int, ...] = (), seed: int = 0) -> Sample:
    """A sample of number columns, or of category columns, given by their values."""
    rows = len(numbers[0]) if numbers else len(codes[0])
    made = np.array(numbers, dtype=float).reshape(len(numbers), rows)
    return Sample(made, np.array(codes, dtype=np.int64).reshape(len(codes), rows), levels, seed)


def mixed(rng: np.random.Generator, rows: int, shift: float = 0.0, gaps: float = 0.0) -> Sample:
    """Two correlated columns, one that is rounded, and two categories."""
    one, noise, third = rng.normal(size=(3, rows))
    numbers = np.stack([one + shift, 0.8 * one + 0.6 * noise, np.round(3 * third)])
    numbers[:, rng.random(rows) < gaps] = np.nan
    codes = np.stack([rng.choice(4, rows, p=[0.05, 0.5, 0.3, 0.15]), rng.choice(np.arange(1, 4), rows)])
    return Sample(numbers, codes, (4, 4), 0)


def score(test: DriftTest, reference: Sample, window: Sample) -> float:
    """What the test says of a window: the largest score over the columns, 0 where nothing was read."""
    return float(np.nan_to_num(scores_of(test, test.fit(reference), window)).max())


def table(folder: Path, **columns: Any) -> Path:
    """A table as a Parquet file."""
    path = folder / f"table-{len(list(folder.iterdir()))}.parquet"
    pl.DataFrame(columns).write_parquet(path)
    return path


def pair(folder: Path, rows: int = 20_000, rho: float = 0.8, seed: int = 7) -> Path:
    """Two normal columns of unit spread with a correlation."""
    one, noise = np.random.default_rng(seed).normal(size=(2, rows))
    return table(folder, a=one, b=rho * one + np.sqrt(1 - rho**2) * noise)


def waves(rows: int, seed: int, phi: float = 0.95) -> dict[str, Any]:
    """Two autoregressive columns of unit spread and a category that follows one of them: no drift, but persistence."""
    from scipy.signal import lfilter

    noise = np.random.default_rng(seed).normal(size=(2, rows + 500)) * np.sqrt(1 - phi**2)
    a, b = lfilter([1.0], [1.0, -phi], noise, axis=1)[:, 500:]
    return {
        "at": np.arange(rows),
        "a": a,
        "b": b,
        "sky": np.where(a + b > 0.5, "clear", np.where(a < -1, "fog", "rain")),
    }


def opened(history: Path, seed: int = 3, **fields: Any) -> DriftBench:
    """A bench with few calibration windows, for tests that name their thresholds or want speed."""
    few = {"race": 4, "planted": 5, "calibration": 400}
    return DriftBench(DriftTask.model_validate(few | {"history": history} | fields), seed)


def shares(bench: DriftBench, test: DriftTest, kind: str | None, windows: int = 800, seed: int = 11) -> float:
    """The share of windows that alarm: quiet ones, or those with a drift of a kind."""
    ready, rng = bench.prepare(test), np.random.default_rng(seed)
    draw = (bench.planted(kind, rng) if kind else bench.quiet(rng) for _ in range(windows))  # type: ignore[arg-type]
    return float(np.mean([ready.alarms(case) for case in draw]))


def error(share: float, windows: int) -> float:
    """The standard error of a share."""
    return float(np.sqrt(max(share * (1 - share), 1 / windows) / windows))
