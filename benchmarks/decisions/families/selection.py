"""Which model: two dozen of scikit-learn's, each with the operations that one answer takes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.decisions.families import _sources
from benchmarks.decisions.families._nets import settings as floors
from benchmarks.decisions.families._sources import Rows
from benchmarks.decisions.family import Family
from weigh.scale.gauge import Gauge, Limit

_BEST = "boosted-150"


def _models() -> dict[str, tuple[Any, Callable[[Any, int], float]]]:
    """Name -> estimator, and the operations of one answer from the fitted estimator and the number of features."""
    from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neural_network import MLPClassifier
    from sklearn.tree import DecisionTreeClassifier

    found: dict[str, tuple[Any, Callable[[Any, int], float]]] = {}
    for penalty in (0.001, 0.01, 1.0):
        found[f"linear-{penalty:g}"] = LogisticRegression(C=penalty, max_iter=200), lambda m, d: m.coef_.size
    found["naive-bayes"] = GaussianNB(), lambda m, d: 3.0 * m.theta_.size
    for depth in (1, 2, 3, 4, 5, 6, 8, 10, 14):
        made = DecisionTreeClassifier(max_depth=depth, random_state=0)
        found[f"tree-{depth}"] = made, lambda m, d: float(m.get_depth())
    for count, depth in ((5, 6), (10, 8), (20, 10), (50, 12)):
        made = RandomForestClassifier(count, max_depth=depth, random_state=0)
        found[f"forest-{count}-{depth}"] = made, _of_trees
    found["extra-trees-30-12"] = ExtraTreesClassifier(30, max_depth=12, random_state=0), _of_trees
    for count in (5, 10, 20, 40, 80, 150):
        made = HistGradientBoostingClassifier(max_iter=count, early_stopping=False, random_state=0)
        found[f"boosted-{count}"] = made, lambda m, d: 5.0 * m.n_iter_ * m.n_trees_per_iteration_
    for width in (4, 8, 16, 48):
        made = MLPClassifier((width,), max_iter=15, random_state=0)
        found[f"net-{width}"] = made, lambda m, d: float(sum(w.size for w in m.coefs_))
    return found


def _of_trees(forest: Any, features: int) -> float:
    return float(sum(tree.get_depth() for tree in forest.estimators_))


def _made(name: str, what: str, rows: Callable[[], Rows], train: int, test: int, block: int, best: bool) -> Family:
    learn, measure = rows().split(train, test, seed=1)
    answers, costs, names = [], [], []
    for option, (model, cost) in _models().items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(learn.x, learn.y)
        answers.append(model.predict(measure.x) == measure.y)
        costs.append(max(cost(model, learn.x.shape[1]), 1.0))
        names.append(option)
    units = test // block * block
    right = np.stack(answers, axis=1)[:units].astype(np.float64)
    operations = Gauge("operations", "exact", "lower")
    if best:
        gauge, values, objective = Gauge("error", "mean", "lower", population=units), 1.0 - right, "error"
        budgets = np.quantile(costs, np.linspace(0.15, 1.0, 9))
        settings = tuple((Limit("operations", "<=", float(np.ceil(budget))),) for budget in budgets)
    else:
        gauge, values, objective = Gauge("accuracy", "mean", "higher", population=units), right, "operations"
        settings = tuple(limits for limits in floors() if len(limits) == 1)
        settings += ((Limit("accuracy", ">=", -0.1, "difference"),),)
    return Family(
        name=name, kind="selection", source=f"{what}; {len(names)} models of scikit-learn", options=tuple(names),
        baseline=_BEST, gauges=(operations, gauge), exact={"operations": np.array(costs)},
        values={gauge.name: values}, objective=objective, settings=settings, block=block,
    )  # fmt: skip


def _census() -> Rows:
    return _sources.census()[0]


def _flights() -> Rows:
    return _sources.flights()[0]


_TABLES: tuple[tuple[str, str, Callable[[], Rows], int, int, int, bool], ...] = (
    ("census-models", "American Community Survey", _census, 20_000, 100_000, 2000, False),
    ("flights-models", "a year of flights", _flights, 20_000, 100_000, 2000, False),
    ("rain-models", "NOAA weather", _sources.rain, 6_000, 12_000, 240, False),
    ("census-best", "American Community Survey, the best within a budget", _census, 10_000, 100_000, 2000, True),
    ("shuttle-best", "Statlog Shuttle, the best within a budget", _sources.shuttle, 2_000, 40_000, 800, True),
)

FAMILIES = {table[0]: partial(_made, *table) for table in _TABLES}
