"""The replay of a task, kept in the cache folder, so that no model is fitted twice whatever the prices and policies."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from weigh.choice import content_digest
from weigh.data import cache_folder
from weigh.data.cache import replacing
from weigh.retrain.cadence import CadenceTask, _estimator
from weigh.retrain.cadence._history import history_of
from weigh.retrain.cadence._pass import Pass
from weigh.retrain.cadence._replay import Replay

_LAYOUT = 1


def replay_of(task: CadenceTask) -> Replay:
    """The replay of a task: from the cache when its models were fitted before, whatever its prices were.

    Raises:
        UsageError, DataError: the task cannot be replayed; the text says why and what to change.
    """
    return _replay_in(_folder(task), task)


def _folder(task: CadenceTask) -> Path:
    """Where what was fitted is kept: a name made of everything that the losses depend on."""
    priceless = task.model_copy(
        update={"retraining_cost": 0.0, "error_cost": 1.0, "update_cost": None, "block_days": 1}
    )
    name = content_digest([_LAYOUT, priceless.fingerprint(), version("scikit-learn"), version("numpy")])
    return cache_folder() / "cadence" / name.removeprefix("sha256:")[:32]


def _replay_in(folder: Path, task: CadenceTask) -> Replay:
    whole = folder / "replay.npz"
    if whole.exists():
        return _loaded(whole)
    estimator, learner = _estimator.batch(task), _estimator.incremental(task)
    made = Pass(task, history_of(task))
    made.check_windows()
    with _recorded() as notes:
        fitted, online = made.run(estimator, learner, folder)
    replay = made.replay(fitted, online, notes)
    with replacing(whole) as temporary:
        replay.save(temporary)
    for part in folder.glob("*.npy"):
        part.unlink(missing_ok=True)
    return replay


@functools.lru_cache(maxsize=4)
def _loaded(path: Path) -> Replay:
    return Replay.load(path)


@contextmanager
def _recorded() -> Iterator[list[str]]:
    """Warnings of the fits, counted once each instead of printed hundreds of times."""
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield notes
    texts = [f"{type(w.message).__name__}: {str(w.message).strip().splitlines()[0]}" for w in caught]
    notes += [f"{texts.count(text)} times: {text}" for text in dict.fromkeys(texts)]
