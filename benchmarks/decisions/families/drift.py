"""Which drift test: statistics and alarm levels on windows of real rows, quiet and with planted drift."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions.families import _sources
from benchmarks.decisions.families._sources import Rows
from benchmarks.decisions.family import Family
from weigh.scale.gauge import Gauge, Limit

Array = NDArray[np.float64]

_WINDOWS = (50, 100, 200, 400)
_LEVELS = (0.01, 0.03)
_COLUMNS = 4
_TRIALS = 11_500


def _largest_gap(window: Array, reference: Array) -> float:
    """Kolmogorov and Smirnov's distance, the largest over columns."""
    return max(
        float(
            np.abs(
                np.searchsorted(np.sort(new), old, side="right") / len(new) - (np.arange(len(old)) + 1) / len(old)
            ).max()
        )
        for new, old in zip(window.T, reference.T)
    )


def _mean_shift(window: Array, reference: Array) -> float:
    """The largest shift of a column's mean, in standard errors."""
    errors = reference.std(axis=0) / np.sqrt(len(window)) + 1e-12
    return float((np.abs(window.mean(axis=0) - reference.mean(axis=0)) / errors).max())


def _psi(window: Array, reference: Array) -> float:
    """The population stability index over ten bins, the largest over columns."""
    found = 0.0
    for new, old in zip(window.T, reference.T):
        edges = np.quantile(old, np.linspace(0, 1, 11)[1:-1])
        p = np.bincount(np.searchsorted(edges, new), minlength=10) / len(new) + 1e-3
        q = np.bincount(np.searchsorted(edges, old), minlength=10) / len(old) + 1e-3
        found = max(found, float(((p - q) * np.log(p / q)).sum()))
    return found


def _wasserstein(window: Array, reference: Array) -> float:
    """The distance of quantiles in standard deviations, the largest over columns."""
    grid = (np.arange(40) + 0.5) / 40
    gaps = np.abs(np.quantile(window, grid, axis=0) - np.quantile(reference, grid, axis=0)).mean(axis=0)
    return float((gaps / (reference.std(axis=0) + 1e-12)).max())


_TESTS: dict[str, tuple[Callable[[Array, Array], float], float]] = {
    "mean-shift": (_mean_shift, 1.0),
    "psi": (_psi, 2.0),
    "ks": (_largest_gap, 3.0),
    "wasserstein": (_wasserstein, 4.0),
}
"""Each with the operations that a value takes, about: sums, bins, sorting, quantiles."""


def _made(name: str, what: str, rows: Callable[[], Rows], shift: float, trials: int) -> Family:
    random = np.random.default_rng(0)
    x = rows().x.astype(np.float64)
    x = x[:, np.argsort(-np.array([len(np.unique(column[:5000])) for column in x.T]))[:_COLUMNS]]
    reference = np.sort(x[random.choice(len(x), 1000, replace=False)], axis=0)
    quiet: dict[tuple[str, int], Array] = {}
    moved: dict[tuple[str, int], Array] = {}
    keys = [(test, size) for test in _TESTS for size in _WINDOWS]
    for key in keys:
        quiet[key], moved[key] = np.empty(trials), np.empty(trials)
    for trial in range(trials):
        window = x[random.integers(0, len(x), _WINDOWS[-1])]
        column, sign = random.integers(_COLUMNS), random.choice([-1.0, 1.0])
        drifted = window.copy()
        drifted[:, column] += sign * shift * random.uniform(0.5, 1.5) * x[:, column].std()
        for test, size in keys:
            statistic = _TESTS[test][0]
            quiet[test, size][trial] = statistic(window[:size], reference)
            moved[test, size][trial] = statistic(drifted[:size], reference)
    names, costs, alarms, power = [], [], [], []
    for test, size in keys:
        for level in _LEVELS:
            bound = np.quantile(quiet[test, size][:1500], 1.0 - level)  # set on a part, as a user would
            names.append(f"{test}-{size}-{level:g}")
            costs.append(size * _TESTS[test][1] * (1.0 + level))
            alarms.append(quiet[test, size][1500:] > bound)
            power.append(moved[test, size][1500:] > bound)
    units = (trials - 1500) // 100 * 100
    settings = [
        (Limit("power", ">=", floor), Limit("false_alarms", "<=", most))
        for floor in (0.3, 0.5, 0.7, 0.8, 0.9)
        for most in (0.02, 0.05)
    ]
    made = {
        "power": np.stack(power, axis=1)[:units].astype(float),
        "false_alarms": np.stack(alarms, axis=1)[:units].astype(float),
    }
    centre = {key: of.mean(axis=0) for key, of in made.items()}
    settings = [s for s in settings if ((centre["power"] >= s[0].bound) & (centre["false_alarms"] <= s[1].bound)).any()]
    return Family(
        name=name, kind="drift", source=f"{what}; windows of up to {_WINDOWS[-1]} rows, one column shifted",
        options=tuple(names), baseline=names[-1],
        gauges=(
            Gauge("operations", "exact", "lower"), Gauge("power", "mean", "higher", population=units),
            Gauge("false_alarms", "mean", "lower", population=units),
        ),
        exact={"operations": np.array(costs)}, values=made, objective="operations",
        settings=tuple(settings) + _single(centre["power"]), block=200,
    )  # fmt: skip


def _single(power: Array) -> tuple[tuple[Limit, ...], ...]:
    """Floors of power alone, spread over what the tests reach."""
    floors = np.round(np.quantile(power, (0.3, 0.5, 0.7, 0.85, 0.95)), 3)
    return tuple((Limit("power", ">=", float(floor)),) for floor in floors)


def _census() -> Rows:
    return _sources.census()[0]


def _flights() -> Rows:
    return _sources.flights()[0]


FAMILIES = {
    "flights-drift": partial(_made, "flights-drift", "a year of flights", _flights, 0.3, _TRIALS),
    "rain-drift": partial(_made, "rain-drift", "NOAA weather", _sources.rain, 0.25, _TRIALS),
    "shuttle-drift": partial(_made, "shuttle-drift", "Statlog Shuttle", _sources.shuttle, 0.35, _TRIALS),
}
