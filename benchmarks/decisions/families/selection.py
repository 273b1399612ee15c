"""Which model: two dozen of scikit-learn's. The cheapest that is good enough, or the best that can be afforded."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions.families import _sources
from benchmarks.decisions.families._limits import Limits, at_least, at_most, each
from benchmarks.decisions.families._models import STRONGEST, Model, classifiers, regressors
from benchmarks.decisions.families._sources import Rows
from benchmarks.decisions.family import Family
from weigh.scale.gauge import Gauge, Limit

_FLOORS = (0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05)
_BOTH = ((0.02, 0.005), (0.05, 0.01), (0.1, 0.02))


class Table(NamedTuple):
    """The data, rows to train on, and rows to measure on."""

    what: str
    rows: Callable[[], Rows]
    train: int
    test: int


Pairs = Sequence[tuple[float, float]]
"""A budget of operations, and how much a share may rise above the baseline's."""


def cheapest(name: str, table: Table) -> Family:
    """The fewest operations, with accuracy, and the share of rows that it misses, close to the best model's."""
    learn, measure = table.rows().split(table.train, table.test, seed=1)
    answers, costs = _answers(classifiers(), learn, measure)
    found = {"accuracy": answers == measure.y[:, None], "missed": _missed(answers, measure)}
    alone = each(at_least("accuracy", floor) for floor in _FLOORS)
    both = [(at_least("accuracy", floor), at_most("missed", rise)) for floor, rise in _BOTH]
    gauges = [_mean("accuracy", table, better="higher"), _mean("missed", table)]
    return _family(name, table, STRONGEST, costs, gauges, found, "operations", (*alone, *both))


def best(name: str, table: Table, budgets: Sequence[float], rises: Sequence[float], pairs: Pairs) -> Family:
    """The fewest wrong answers within a budget of operations, and with few more rows missed than by a linear model."""
    learn, measure = table.rows().split(table.train, table.test, seed=1)
    answers, costs = _answers(classifiers(), learn, measure)
    found = {"error": answers != measure.y[:, None], "missed": _missed(answers, measure)}
    settings = _within("missed", budgets, rises, pairs)
    return _family(name, table, "linear-1", costs, [_mean(g, table) for g in found], found, "error", settings)


def minutes(name: str, table: Table, budgets: Sequence[float], rises: Sequence[float], pairs: Pairs) -> Family:
    """The least absolute error of a delay, of at most an hour, with few that are half an hour later than was said."""
    learn, measure = table.rows().split(table.train, table.test, seed=1)
    answers, costs = _answers(regressors(), learn, measure)
    later = measure.y[:, None] - answers
    found = {"minutes": np.minimum(np.abs(later), 60.0).astype(np.float16), "later": later > 30.0}
    gauges = [_mean("minutes", table, high=60.0), _mean("later", table)]
    settings = _within("later", budgets, rises, pairs)
    return _family(name, table, "ridge-1", costs, gauges, found, "minutes", settings)


def _within(gauge: str, budgets: Sequence[float], rises: Sequence[float], pairs: Pairs) -> tuple[Limits, ...]:
    """Budgets alone, rises alone, and both."""
    costs = each(Limit("operations", "<=", budget) for budget in budgets)
    alone = each(at_most(gauge, rise) for rise in rises)
    return (*costs, *alone, *((Limit("operations", "<=", budget), at_most(gauge, rise)) for budget, rise in pairs))


def _mean(name: str, table: Table, better: Literal["lower", "higher"] = "lower", high: float = 1.0) -> Gauge:
    return Gauge(name, "mean", better, high=high, population=table.test)


def _answers(models: Mapping[str, Model], learn: Rows, measure: Rows) -> tuple[NDArray[Any], dict[str, float]]:
    """What each model says of each row, shape (rows, models), and the operations of each by name."""
    answers, costs = [], {}
    for name, model in models.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.estimator.fit(learn.x, learn.y)
        answers.append(model.estimator.predict(measure.x))
        costs[name] = model.cost(learn.x.shape[1])
    return np.stack(answers, axis=1), costs


def _missed(answers: NDArray[Any], rows: Rows) -> NDArray[np.bool_]:
    return np.asarray((rows.y[:, None] == 1) & (answers != 1))


def _family(
    name: str,
    table: Table,
    baseline: str,
    costs: Mapping[str, float],
    gauges: Sequence[Gauge],
    found: Mapping[str, NDArray[Any]],
    objective: str,
    settings: tuple[Limits, ...],
) -> Family:
    values: dict[str, NDArray[np.float64]] = {gauge: of.astype(np.float64) for gauge, of in found.items()}
    return Family(
        name=name, kind="selection", source=f"{table.what}; {len(costs)} models of scikit-learn", options=tuple(costs),
        baseline=baseline, gauges=(Gauge("operations", "exact", "lower"), *gauges),
        exact={"operations": np.array(list(costs.values()))}, values=values, objective=objective, settings=settings,
        block=table.test // 50,
    )  # fmt: skip


def _census() -> Rows:
    return _sources.census()[0]


def _flights() -> Rows:
    return _sources.flights()[0]


_CENSUS, _RAIN, _YEAR = "American Community Survey", "NOAA weather", "a year of flights"
_OF_CENSUS = Table(_CENSUS, _census, 10_000, 100_000)
_OF_RAIN = Table(_RAIN, _sources.rain, 6_000, 12_000)
_OF_DELAYS = Table(_YEAR, _sources.delays, 20_000, 100_000)

FAMILIES: dict[str, Callable[[], Family]] = {
    "census-models": partial(cheapest, "census-models", Table(_CENSUS, _census, 20_000, 100_000)),
    "flights-models": partial(cheapest, "flights-models", Table(_YEAR, _flights, 20_000, 100_000)),
    "rain-models": partial(cheapest, "rain-models", _OF_RAIN),
    "census-best": partial(
        best, "census-best", _OF_CENSUS, (153, 158, 208), (-0.01, -0.005, 0.0, 0.005), ((250, 0.0), (350, 0.003))
    ),
    "rain-best": partial(
        best, "rain-best", _OF_RAIN, (21, 26, 76, 136), (-0.05,), ((46, 0.03), (76, 0.02), (76, 0.04), (136, -0.01))
    ),
    "flights-minutes": partial(
        minutes, "flights-minutes", _OF_DELAYS, (76, 126), (0.0, 0.01, 0.03, 0.035, 0.045), ((126, 0.0), (316, 0.0))
    ),
}
