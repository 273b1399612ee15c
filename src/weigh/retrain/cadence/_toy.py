"""Simulated histories whose best policy is known: a boundary that turns, at a speed that is given day by day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.retrain.cadence import CadenceTask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

START = datetime(2024, 1, 1, tzinfo=UTC)
AXES = 7


def turning(path: Path, speeds: Sequence[float], rows: int, noise: float, seed: int, axes: int = 2) -> Path:
    """Write a history of Gaussian points, whose label is the side of a plane through the middle that turns.

    A linear model that was exact when the plane's normal pointed elsewhere is wrong on (angle between the two) / pi of
    the points. With two axes a model of age `a` thus has an error of noise + (1 - 2 noise) * speed * a / pi, until half
    a turn is over. With more, the normal turns from the first axis to the second, then to the third, and so on; after
    the last it goes on to the third, so that what a frozen model knows never comes back, and its error stays one half.
    Features never change their distribution.

    Args:
        path: where to write (.parquet).
        speeds: how far the normal turns on each day, in radians.
        rows: rows a day, at even distances of time.
        noise: share of the labels that are flipped.
        seed: of points and flips.
        axes: features, two or more than three.
    """
    import numpy as np
    import polars as pl

    draw = np.random.default_rng(seed)
    moment = (np.arange(len(speeds) * rows) + 0.5) / rows
    turned = np.interp(moment, np.arange(len(speeds) + 1), np.concatenate([[0.0], np.cumsum(speeds)]))
    points = draw.standard_normal((moment.size, axes))
    label = ((points * normals(turned, axes)).sum(axis=1) > 0) ^ (draw.random(moment.size) < noise)
    times = [START + timedelta(days=float(when)) for when in moment]
    columns = {f"x{axis}": points[:, axis] for axis in range(axes)}
    pl.DataFrame({"time": times, **columns, "label": label.astype(np.int8)}).write_parquet(path)
    return path


def normals(turned: Floats, axes: int) -> Floats:
    """Where the normal points after turning so far (radians), shape (..., axes)."""
    import numpy as np

    if axes == 2:
        return np.stack([np.cos(turned), np.sin(turned)], axis=-1)
    quarter, angle = np.divmod(turned, np.pi / 2)
    unit = np.eye(axes)

    def axis(number: Floats) -> Floats:
        return unit[np.where(number < 2, number, 2 + (number - 2) % (axes - 2)).astype(int)]

    return np.cos(angle)[..., None] * axis(quarter) + np.sin(angle)[..., None] * axis(quarter + 1)


def square_root_law(folder: Path, seed: int = 0, **changes: Any) -> CadenceTask:
    """A steady turn, at prices that make five days the best period: `weekly` is the nearest that is offered.

    The error grows by nearly 0.02 a day, 40 rows come a day and a retraining costs as much as 10 errors, so that the
    best period is about sqrt(2 * 10 / (0.02 * 40)) = 5 days. A day then costs 3.6 errors more than with models that
    never age and cost nothing; weekly 3.8, every fortnight 5.9, daily 10, never 14. A steady turn never alarms early
    enough for `on_error`, and an incremental update is dear.
    """
    folder.mkdir(parents=True, exist_ok=True)
    speed = 0.02 * 3.141592653589793 / 0.9
    settings: dict[str, Any] = {
        "history": turning(folder / "turning.parquet", [speed] * (14 + 7 * 72), 40, 0.05, seed, AXES),
        "time": "time",
        "label": "label",
        "features": tuple(f"x{axis}" for axis in range(AXES)),
        "params": {"fit_intercept": False, "solver": "newton-cholesky"},
        "train_days": 7,
        "start_days": 14,
        "retraining_cost": 10.0,
        "update_cost": 30.0,
    }
    return CadenceTask.model_validate({**settings, **changes})
