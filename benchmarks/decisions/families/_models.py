"""Estimators of scikit-learn, and how many operations one answer of each takes: comparisons or multiplications."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Model(NamedTuple):
    """An estimator that is not fitted yet, and the operations of one answer once it is."""

    estimator: Any
    operations: Callable[[Any], float]

    def cost(self, features: int) -> float:
        """Operations of one answer, with the two a feature that standardise a row."""
        return 2.0 * features + self.operations(self.estimator)


STRONGEST = "boosted-150"
"""The strongest of them on most tables."""


def classifiers() -> dict[str, Model]:
    """Linear, naive Bayes, trees, forests, boosted trees and nets, from cheap to costly."""
    from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neural_network import MLPClassifier
    from sklearn.tree import DecisionTreeClassifier

    found = {f"linear-{c:g}": Model(LogisticRegression(C=c, max_iter=200), _linear) for c in (0.001, 0.01, 1.0)}
    found["naive-bayes"] = Model(GaussianNB(), lambda model: 3.0 * model.theta_.size)
    for depth in (1, 2, 3, 4, 5, 6, 8, 10, 14):
        found[f"tree-{depth}"] = Model(DecisionTreeClassifier(max_depth=depth, random_state=0), _path)
    for count, depth in ((5, 6), (10, 8), (20, 10), (50, 12)):
        forest = RandomForestClassifier(count, max_depth=depth, random_state=0)
        found[f"forest-{count}-{depth}"] = Model(forest, _paths)
    found["extra-trees-30-12"] = Model(ExtraTreesClassifier(30, max_depth=12, random_state=0), _paths)
    for count in (5, 10, 15, 20, 30, 40, 60, 80, 110, 150):
        boosted = HistGradientBoostingClassifier(max_iter=count, early_stopping=False, random_state=0)
        found[f"boosted-{count}"] = Model(boosted, _boosted)
    for width in (4, 8, 16, 48):
        found[f"net-{width}"] = Model(MLPClassifier((width,), max_iter=15, random_state=0), _net)
    return found


def regressors() -> dict[str, Model]:
    """The same kinds for a number; boosted trees also for the median, which is what an absolute error asks for."""
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import Ridge
    from sklearn.tree import DecisionTreeRegressor

    found = {f"ridge-{penalty:g}": Model(Ridge(penalty), _linear) for penalty in (1.0, 10_000.0)}
    for depth in (2, 3, 4, 6, 8, 10):
        found[f"tree-{depth}"] = Model(DecisionTreeRegressor(max_depth=depth, random_state=0), _path)
    for count, depth in ((5, 8), (20, 10)):
        forest = RandomForestRegressor(count, max_depth=depth, random_state=0, max_features=0.3)
        found[f"forest-{count}-{depth}"] = Model(forest, _paths)
    for loss, name in (("squared_error", "boosted"), ("absolute_error", "boosted-median")):
        for count in (5, 10, 20, 40, 80, 150):
            boosted = HistGradientBoostingRegressor(loss=loss, max_iter=count, early_stopping=False, random_state=0)
            found[f"{name}-{count}"] = Model(boosted, _boosted)
    return found


def _linear(model: Any) -> float:
    return float(model.coef_.size)


def _net(model: Any) -> float:
    return float(sum(weights.size for weights in model.coefs_))


def _path(model: Any) -> float:
    """Comparisons from the root to a leaf, the mean over the rows that it learnt from."""
    tree = model.tree_
    inner = tree.children_left >= 0
    return float(np.sum(tree.n_node_samples[inner]) / tree.n_node_samples[0])


def _paths(model: Any) -> float:
    return float(sum(_path(tree) for tree in model.estimators_))


def _boosted(model: Any) -> float:
    """Its trees have 31 leaves: about five comparisons each."""
    return 5.0 * model.n_iter_ * model.n_trees_per_iteration_
