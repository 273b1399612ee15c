"""How often to retrain: policies replayed over a real history; the fewer fits, the cheaper."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions.families import _sources
from benchmarks.decisions.families._sources import Rows
from benchmarks.decisions.family import Family
from weigh.scale.gauge import Gauge, Limit

History = tuple[Rows, NDArray[np.int64]]
_EVERY = (1, 2, 3, 4, 6, 8, 12, 16, 24, 10_000)
_WINDOWS = {"all": 10_000, "last-12": 12, "last-4": 4}
_MOST = 15_000


def _flights() -> History:
    rows, days = _sources.flights()
    return rows, (days - 1) // 7


def _census() -> History:
    """Within a year people come in no order: four years, each cut into thirteen parts at random."""
    rows, years = _sources.census()
    part = np.random.default_rng(0).integers(0, 13, len(years))
    return rows, (years - years.min()) * 13 + part


def _rain() -> History:
    rows = _sources.rain()
    return rows, np.arange(len(rows.y)) // 200


def _made(
    name: str, what: str, history: Callable[[], History], first: int, block: int, shifts: tuple[float, ...]
) -> Family:
    from sklearn.linear_model import LogisticRegression

    rows, period = history()
    last, random = int(period.max()), np.random.default_rng(0)
    judged = np.flatnonzero((period >= first) & (period <= last))
    if len(judged) > 100_000:
        judged = np.sort(random.choice(judged, 100_000, replace=False))
    when = period[judged]
    forecasts: dict[tuple[str, int], NDArray[np.float32]] = {}
    for window, length in _WINDOWS.items():
        for now in range(first, last + 1):
            learn = np.flatnonzero((period < now) & (period >= now - length))
            learn = random.choice(learn, min(_MOST, len(learn)), replace=False)
            model = LogisticRegression(max_iter=60).fit(rows.x[learn], rows.y[learn])
            forecasts[window, now] = model.predict_proba(rows.x[judged])[:, 1].astype(np.float32)
    names, fits, columns = [], [], []
    for window in _WINDOWS:
        for every in _EVERY:
            in_force = first + (when - first) // every * every
            p = np.empty(len(judged), dtype=np.float32)
            for now in np.unique(in_force):
                p[in_force == now] = forecasts[window, int(now)][in_force == now]
            columns.append(np.abs(p - rows.y[judged]) ** 2)
            names.append(f"{'never' if every > last else f'every-{every}'}-{window}")
            fits.append(float(len(np.unique(in_force))))
    units = len(judged) // block * block
    loss = Gauge("loss", "mean", "lower", population=units)
    order = random.permutation(len(judged))[:units]
    return Family(
        name=name, kind="cadence", source=f"{what}; logistic regression, refitted by {len(names)} policies",
        options=tuple(names), baseline="every-1-all", gauges=(Gauge("fits", "exact", "lower"), loss),
        exact={"fits": np.array(fits)}, values={"loss": np.stack(columns, axis=1)[order].astype(float)},
        objective="fits", settings=tuple((Limit("loss", "<=", shift, "difference"),) for shift in shifts), block=block,
    )  # fmt: skip


_SHIFTS = (0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.006, 0.01, 0.02)

FAMILIES = {
    "flights-cadence": partial(_made, "flights-cadence", "a year of flights by week", _flights, 9, 2000, _SHIFTS),
    "census-cadence": partial(_made, "census-cadence", "four years of a census", _census, 13, 2000, _SHIFTS),
    "rain-cadence": partial(_made, "rain-cadence", "NOAA weather by 200 days", _rain, 20, 280, _SHIFTS),
}
