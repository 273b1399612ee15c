"""The classifier that the task names by import path: never unpickled, checked before it is fitted."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from weigh.choice import UsageError, unknown
from weigh.retrain.cadence import CadenceTask

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


def incremental(task: CadenceTask) -> Any | None:
    """The learner of `continuous`: the one that the task names, else the estimator's own kind, else None.

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
        return made
    made = _made(task.estimator, task.params, "estimator", task.seed)
    if hasattr(made, "partial_fit"):
        return made
    if type(made).__name__ == "LogisticRegression" and type(made).__module__.startswith("sklearn."):
        return _made(_TWIN, {**_TWIN_PARAMS, **task.online_params}, "online", task.seed)
    return None


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
