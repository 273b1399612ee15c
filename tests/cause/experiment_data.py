"""Histories and experiments with known answers, for the tests of cause/experiment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from weigh.cause.experiment import Experiments, ExperimentTask, Units

DAYS = 28


def normal_history(folder: Path, rows: int = 20_000, correlation: float = 0.7, seed: int = 0) -> Path:
    """A normal metric of mean 50 and deviation 10, and its past."""
    rng = np.random.default_rng(seed)
    past, news = rng.normal(size=(2, rows))
    metric = correlation * past + np.sqrt(1 - correlation**2) * news
    path = folder / "history.parquet"
    pl.DataFrame({"spend": 50 + 10 * metric, "before": 30 + 5 * past}).write_parquet(path)
    return path


def normal_task(folder: Path, **fields: object) -> ExperimentTask:
    """Experiments of 40 units a day on a normal metric."""
    given = {
        "history": normal_history(folder), "metric": "spend", "covariate": "before",
        "effect": 1.0, "units": 40 * DAYS, "days": DAYS, "looks": "daily",
    }  # fmt: skip
    return ExperimentTask.model_validate(given | fields)


def one_experiment(
    control: np.ndarray, treated: np.ndarray, x: tuple[np.ndarray, np.ndarray] | None = None, planned: float = 0.0
) -> Experiments:
    """A single experiment that is read once."""
    y = np.concatenate([control, treated])[None]
    arm = np.repeat([False, True], [len(control), len(treated)])
    units = Units(y, None if x is None else np.concatenate(x)[None], arm, np.zeros(arm.size, dtype=np.int64))
    return Experiments.of(units, 1, planned or float(arm.size), seed=0)


def band(share: float, n: int, deviations: float = 4.0) -> float:
    """How far a share over n experiments may fall from the truth by chance."""
    return deviations * float(np.sqrt(share * (1 - share) / n))
