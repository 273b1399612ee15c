"""The toy task, the planted loser and the twins of `monitor/drift`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from weigh.monitor.drift import DriftTask, DriftTest, Sample
from weigh.monitor.drift.mean_shift import MeanShift, Moments

if TYPE_CHECKING:
    from weigh.monitor.drift._sample import Floats


ROWS = 20_000


class Silent(DriftTest):
    """The planted loser: finds every window the same. Source: none."""

    name = "silent"

    def fit(self, reference: Sample) -> None:
        return None

    def score(self, state: None, window: Sample) -> float:
        return 0.0


class Half(DriftTest):
    """A twin: the mean shift of one half of every window, whose rows are drawn by themselves. Source: none."""

    name = "half"

    part: int = Field(0, ge=0, le=1, description="the first or the second half")

    def fit(self, reference: Sample) -> Moments:
        return MeanShift().fit(reference)

    def score(self, state: Moments, window: Sample) -> Floats:
        half = window.rows // 2
        return MeanShift().score(state, window.take(slice(self.part * half, (self.part + 1) * half)))


def toy(folder: Path, seed: int = 0) -> DriftTask:
    """Two normal columns with a correlation of 0.8 and a category of four levels, without drift."""
    import polars as pl

    path = folder / "drift.parquet"
    pl.DataFrame(toy_columns(ROWS, seed)).write_parquet(path)
    return DriftTask(
        history=path, window=200, reference=2000, kinds=("mean", "correlation"), size=0.3, sizes={"correlation": 0.4},
        share_of_columns=0.5, false_alarm=0.05, calibration=1000, quiet=30, planted=8, race=30, fresh=20,
    )  # fmt: skip


def toy_columns(rows: int, seed: int) -> dict[str, Any]:
    """The columns of the toy table."""
    import numpy as np

    rng = np.random.default_rng(seed)
    speed, noise = rng.normal(size=(2, rows))
    colour = np.array(["red", "green", "blue", "grey"])[rng.choice(4, rows, p=[0.4, 0.3, 0.2, 0.1])]
    return {"speed": speed, "load": 0.8 * speed + 0.6 * noise, "colour": colour}
