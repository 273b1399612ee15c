"""The classifier that the task names by import path: never unpickled, checked before it is fitted."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from weigh.choice import UsageError, unknown
from weigh.retrain.cadence import CadenceTask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]

_TWIN = "sklearn.linear_model:SGDClassifier"
_TWIN_PARAMS = {"loss": "log_loss", "learning_rate": "constant", "eta0": 0.001}


def batch(task: CadenceTask) -> Any:
    """The estimator that every retraining fits a clone of.

    Raises:
        UsageError: it does not exist, is no classifier, does not take the parameters, or gives no probabilities where
            the loss needs them.
    """
    made = _made(task.estimator, task.params, "estimator", task.seed)
    _gives_what_the_loss_needs(made, task.estimator, task.loss)
    return made


def incremental(task: CadenceTask) -> list[tuple[str, Any]]:
    """What may learn for `continuous`, with what to call it: the first whose partial_fit works is taken.

    It is the one that the task names; else the estimator's own kind where it has partial_fit, and after it a logistic
    regression by stochastic gradient descent.

    Raises:
        UsageError: as for `batch`, or what the task names cannot learn incrementally.
    """
    if task.online:
        made = _made(task.online, task.online_params, "online", task.seed)
        if not hasattr(made, "partial_fit"):
            raise UsageError(
                f"online: {task.online} has no partial_fit, so that it cannot learn incrementally; type '{_TWIN}'"
            )
        _gives_what_the_loss_needs(made, task.online, task.loss)
        return [(type(made).__name__, made)]
    own = _made(task.estimator, task.params, "estimator", task.seed)
    name = type(own).__name__
    twin = _made(_TWIN, {**_TWIN_PARAMS, **task.online_params}, "online", task.seed)
    same = name == "LogisticRegression"
    learners = [("SGDClassifier" if same else f"SGDClassifier, another model than {name}", twin)]
    return [(name, own), *learners] if hasattr(own, "partial_fit") else learners


def restarts(model: Any) -> bool:
    """Whether a fit may start from the coefficients of another without depending on where it began.

    That is so for scikit-learn's logistic regression by Newton's method, whose first step from a near start already
    lands closer to the optimum than its tolerance asks for. Other solvers stop early on the side that they came from.
    """
    from sklearn.linear_model import LogisticRegression

    return type(model) is LogisticRegression and model.solver == "newton-cholesky" and not model.warm_start


def start_from(model: Any, other: Any, seen: Bools) -> None:
    """Let the unfitted model start from a fitted one of its kind; `seen` are the columns that it is given."""
    import numpy as np

    model.set_params(warm_start=True)
    model.coef_, model.intercept_ = np.where(seen, other.coef_, 0.0), other.intercept_.copy()


def _made(path: str, params: Mapping[str, Any], field: str, seed: int) -> Any:
    from sklearn.base import BaseEstimator, is_classifier

    maker = _maker(path, field)
    _refuse_other_calls(maker, path, field)
    try:
        made = maker(**params)
    except TypeError as error:
        raise UsageError(f"{field}: {path} does not take these parameters: {error}{_nearest(maker, params)}") from None
    if not isinstance(made, BaseEstimator) or not is_classifier(made):
        raise UsageError(
            f"{field}: {path} makes a {type(made).__name__}, which is no scikit-learn classifier; "
            "type one such as 'sklearn.linear_model:LogisticRegression'"
        )
    if "random_state" in made.get_params() and "random_state" not in params:
        made.set_params(random_state=seed)
    return made


def _refuse_other_calls(maker: Any, path: str, field: str) -> None:
    """A task may be somebody else's file: nothing is called but classifiers, and functions that say they return one."""
    import inspect

    made = maker if inspect.isclass(maker) else getattr(maker, "__annotations__", {}).get("return")
    if made is None or (inspect.isclass(made) and not hasattr(made, "fit")):
        raise UsageError(
            f"{field}: {path} is no scikit-learn classifier, and no function annotated to return one; "
            "type one such as 'sklearn.linear_model:LogisticRegression'"
        )


def _maker(path: str, field: str) -> Callable[..., Any]:
    module_name, colon, name = path.partition(":")
    if not colon:
        raise UsageError(
            f"{field}: '{path}' is no import path; type module:Class, as in 'sklearn.linear_model:LogisticRegression'"
        )
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        text = f"{field}: there is no module {error.name!r} to import {path} from; install it, or mend the name"
        raise UsageError(text) from None
    if not hasattr(module, name):
        known = [other for other in dir(module) if other[0] != "_"]
        raise UsageError(f"{field}: {unknown('name', name, known, f'in {module_name}')}")
    maker = getattr(module, name)
    if not callable(maker):
        raise UsageError(
            f"{field}: {path} is a {type(maker).__name__}; type a class, or a function that returns a classifier"
        )
    return maker


def _nearest(maker: Any, params: Mapping[str, Any]) -> str:
    known = list(maker().get_params()) if hasattr(maker, "get_params") else []
    wrong = [name for name in params if name not in known]
    return f"; {unknown('parameter', wrong[0], known)}" if known and wrong else ""


def _gives_what_the_loss_needs(made: Any, path: str, loss: str) -> None:
    if loss != "error" and not hasattr(made, "predict_proba"):
        raise UsageError(
            f"loss: {loss} needs probabilities, and {path} has no predict_proba; type loss: error, or another estimator"
        )
