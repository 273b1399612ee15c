"""How often to retrain: policies replayed over a real history; the fewer rows are learnt from, the cheaper."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions.families import _sources
from benchmarks.decisions.families._limits import at_most, each
from benchmarks.decisions.families._sources import Rows
from benchmarks.decisions.family import Family
from weigh.scale.gauge import Gauge

Periods = NDArray[np.int64]
Losses = NDArray[np.float16]
_NEVER = 10_000
_EVERY = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, _NEVER)
_WORSE = (0.002, 0.005, 0.01, 0.02)
_UNITS = 100_000


class History(NamedTuple):
    """What is replayed.

    Attributes:
        rows: features and classes.
        period: of each row, from 0 on, in order of time.
        first: the first period that is judged; those before it are only learnt from.
        windows: name -> how many periods a fit looks back.
        labelled: rows of a period whose labels come in, to learn from; at most.
        most: rows that a fit learns from, at most; a sample of its window where that has more.
    """

    rows: Rows
    period: Periods
    first: int
    windows: Mapping[str, int]
    labelled: int = 1_000_000
    most: int = 10_000


class Policy(NamedTuple):
    """Every so many periods, or when a period's loss is so much above that of the first period after the last fit."""

    name: str
    window: str
    every: int = 0
    worse: float = 0.0


class Fits(NamedTuple):
    """What the fit of each window and period says of the judged rows, as squared loss; the rows that it learnt from."""

    losses: Mapping[tuple[str, int], Losses]
    learnt: Mapping[tuple[str, int], int]


def made(name: str, what: str, history: Callable[[], History], rises: Sequence[float]) -> Family:
    """Every policy on every judged row: how far the forecast was off, and whether its class was wrong."""
    past = history()
    judged = _judged(past)
    fits, policies = _fitted(past, judged), list(_policies(past.windows))
    columns, costs = [], []
    for policy in policies:
        moments = _moments(policy, fits, past.period[judged])
        columns.append(_replayed(policy.window, moments, fits, past.period[judged]))
        costs.append(sum(fits.learnt[policy.window, now] for now in moments) / 1000)
    loss = np.stack(columns, axis=1)
    gauges = [Gauge(gauge, "mean", "lower", population=len(judged)) for gauge in ("loss", "error")]
    both = [(at_most("loss", rise), at_most("error", rise)) for rise in rises[2::2]]
    return Family(
        name=name, kind="cadence", source=f"{what}; logistic regression, refitted by {len(policies)} policies",
        options=tuple(policy.name for policy in policies), baseline=policies[0].name,
        gauges=(Gauge("learnt", "exact", "lower"), *gauges), exact={"learnt": np.array(costs)},
        values={"loss": loss.astype(np.float64), "error": (loss > 0.25).astype(np.float64)}, objective="learnt",
        settings=(*each(at_most("loss", rise) for rise in rises), *both), block=len(judged) // 50,
    )  # fmt: skip


def _policies(windows: Mapping[str, int]) -> Iterator[Policy]:
    for window in windows:
        for every in _EVERY:
            yield Policy(f"{'never' if every == _NEVER else f'every-{every}'}-{window}", window, every=every)
        for worse in _WORSE:
            yield Policy(f"drift-{worse:g}-{window}", window, worse=worse)


def _judged(past: History) -> NDArray[np.intp]:
    """Rows from the first judged period on, in order; a sample where there are many."""
    rows = np.flatnonzero(past.period >= past.first)
    units = min(_UNITS, len(rows) // 100 * 100)
    return np.sort(np.random.default_rng(0).choice(rows, units, replace=False))


def _fitted(past: History, judged: NDArray[np.intp]) -> Fits:
    from sklearn.linear_model import LogisticRegression

    random, fits = np.random.default_rng(1), Fits({}, {})
    seen = _labelled(past.period, past.labelled)
    x, y = past.rows.x[judged], past.rows.y[judged]
    for window, length in past.windows.items():
        for now in range(past.first, int(past.period.max()) + 1):
            learn = seen[(past.period[seen] < now) & (past.period[seen] >= now - length)]
            learn = random.choice(learn, min(past.most, len(learn)), replace=False)
            model = LogisticRegression(max_iter=300).fit(past.rows.x[learn], past.rows.y[learn])
            late = np.flatnonzero(past.period[judged] >= now)
            loss = np.zeros(len(judged), dtype=np.float16)
            loss[late] = (model.predict_proba(x[late])[:, 1] - y[late]) ** 2
            fits.losses[window, now], fits.learnt[window, now] = loss, len(learn)  # type: ignore[index]
    return fits


def _labelled(period: Periods, most: int) -> NDArray[np.intp]:
    """The first rows of each period, up to `most`."""
    order = np.argsort(period, kind="stable")
    begin = np.searchsorted(period[order], period[order])
    return order[np.arange(len(order)) - begin < most]


def _moments(policy: Policy, fits: Fits, period: Periods) -> list[int]:
    """The periods before which the policy fits."""
    first, last = int(period.min()), int(period.max())
    if policy.every:
        return list(range(first, last + 1, policy.every))
    moments = [first]
    for now in range(first + 2, last + 1):
        loss = fits.losses[policy.window, moments[-1]]
        at_first, of_late = (float(loss[period == then].mean()) for then in (moments[-1], now - 1))
        if of_late > at_first + policy.worse:
            moments.append(now)
    return moments


def _replayed(window: str, moments: Sequence[int], fits: Fits, period: Periods) -> Losses:
    """The loss of each row under the fit that was in force."""
    loss = np.empty(len(period), dtype=np.float16)
    for start in moments:
        loss[period >= start] = fits.losses[window, start][period >= start]
    return loss


def _flights() -> History:
    rows, days = _sources.flights()
    return History(rows, (days - 1) // 7, 9, {"last-12": 12, "all": _NEVER})


def _census() -> History:
    """Within a year people come in no order: four years, each cut into thirteen parts at random."""
    rows, years = _sources.census()
    part = np.random.default_rng(0).integers(0, 13, len(years))
    return History(rows, (years - years.min()) * 13 + part, 2, {"all": _NEVER, "last-12": 12}, labelled=100)


def _rain() -> History:
    rows = _sources.rain()
    return History(rows, np.arange(len(rows.y)) // 200, 20, {"last-4": 4, "last-12": 12})


_RISES = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02)

FAMILIES = {
    "flights-cadence": partial(made, "flights-cadence", "a year of flights by week", _flights, _RISES),
    "census-cadence": partial(
        made, "census-cadence", "four years of a census, a hundred labels a four-week", _census, _RISES
    ),
    "rain-cadence": partial(
        made, "rain-cadence", "NOAA weather by 200 days", _rain, (0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03)
    ),
}
