"""Which drift test: statistics, windows and alarm levels, on windows of real rows, quiet and with planted drift."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions.families import _sources
from benchmarks.decisions.families._limits import Limits
from benchmarks.decisions.families._sources import Rows
from benchmarks.decisions.families._statistics import STATISTICS, reference_of
from benchmarks.decisions.family import Family
from weigh.scale.gauge import Gauge, Limit

Array = NDArray[np.float64]
Key = tuple[str, int]

_WINDOWS = (50, 100, 150, 200, 300, 400)
_LEVELS = (0.01, 0.03)
_COLUMNS = 4
_REFERENCE, _QUIET, _TRIALS, _BATCH = 1_000, 2_000, 20_000, 1_000


class Trials(NamedTuple):
    """By statistic and window size the values of all trials: of quiet windows, and of the same ones with drift."""

    quiet: Mapping[Key, Array]
    moved: Mapping[Key, Array]


def made(name: str, what: str, rows: Callable[[], Rows], size: float, trials: int = _TRIALS) -> Family:
    """Every test at every level on every trial: did it call the quiet window, did it call the one that had drifted."""
    x = _columns(rows().x)
    random = np.random.default_rng(0)
    run = _run(x, size, _QUIET + trials, random)
    names, costs, alarms, found = [], [], [], []
    for test, rows_of in run.quiet:
        for level in _LEVELS:
            bound = np.quantile(run.quiet[test, rows_of][:_QUIET], 1.0 - level)
            names.append(f"{test}-{rows_of}-{level:g}")
            costs.append(STATISTICS[test].operations(rows_of) * _COLUMNS)
            alarms.append(run.quiet[test, rows_of][_QUIET:] > bound)
            found.append(run.moved[test, rows_of][_QUIET:] > bound)
    values = {"power": np.stack(found, axis=1), "false_alarms": np.stack(alarms, axis=1)}
    gauges = (
        Gauge("power", "mean", "higher", population=trials),
        Gauge("false_alarms", "mean", "lower", population=trials),
    )
    return Family(
        name=name, kind="drift", source=f"{what}; windows in which a column of {_COLUMNS} has moved or spread",
        options=tuple(names), baseline=f"psi-{_WINDOWS[-1]}-0.01",
        gauges=(Gauge("operations", "exact", "lower"), *gauges),
        exact={"operations": np.array(costs)}, values={gauge: of.astype(np.float64) for gauge, of in values.items()},
        objective="operations", settings=tuple(_settings(values)), block=trials // 50,
    )  # fmt: skip


def _columns(x: NDArray[np.float32]) -> Array:
    """The columns with the most different values."""
    distinct = np.array([len(np.unique(column[:5000])) for column in x.T])
    return x[:, np.argsort(-distinct, kind="stable")[:_COLUMNS]].astype(np.float64)


def _run(x: Array, size: float, trials: int, random: np.random.Generator) -> Trials:
    """Statistics of windows that are drawn from all rows, before and after drift was planted in one of the columns."""
    reference = reference_of(x[random.choice(len(x), _REFERENCE, replace=False)])
    keys = [(test, rows) for test in STATISTICS for rows in _WINDOWS]
    run = Trials({key: np.empty(trials) for key in keys}, {key: np.empty(trials) for key in keys})
    for start in range(0, trials, _BATCH):
        windows = x[random.integers(0, len(x), (min(_BATCH, trials - start), _WINDOWS[-1]))]
        for into, what in ((run.quiet, windows), (run.moved, _drifted(windows, x, size, random))):
            for test, rows in keys:
                value = STATISTICS[test].value(what[:, :rows], reference)
                into[test, rows][start : start + len(windows)] = value
    return run


def _drifted(windows: Array, x: Array, size: float, random: np.random.Generator) -> Array:
    """One column of each window: in half of them its mean has moved, in the others it has spread."""
    made, trials = windows.copy(), np.arange(len(windows))
    column = random.integers(0, x.shape[1], len(windows))
    deviation, mean = x.std(axis=0)[column, None], x.mean(axis=0)[column, None]
    amount = size * random.uniform(0.5, 1.5, (len(windows), 1))
    moved = windows[trials, :, column] + random.choice([-1.0, 1.0], (len(windows), 1)) * amount * deviation
    spread = mean + (windows[trials, :, column] - mean) * (1.0 + amount)
    made[trials, :, column] = np.where(random.random((len(windows), 1)) < 0.5, moved, spread)
    return made


def _settings(values: Mapping[str, NDArray[np.bool_]]) -> Iterator[Limits]:
    """Floors of power and shares of false alarms, those that a test meets."""
    power, alarms = (values[gauge].mean(axis=0) for gauge in ("power", "false_alarms"))
    for floor in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        for most in (0.02, 0.04):
            if ((power >= floor) & (alarms <= most)).any():
                yield Limit("power", ">=", floor), Limit("false_alarms", "<=", most)


def _flights() -> Rows:
    return _sources.flights()[0]


FAMILIES = {
    "flights-drift": partial(made, "flights-drift", "a year of flights", _flights, 0.3),
    "rain-drift": partial(made, "rain-drift", "NOAA weather", _sources.rain, 0.3),
    "shuttle-drift": partial(made, "shuttle-drift", "Statlog Shuttle", _sources.shuttle, 0.25),
}
