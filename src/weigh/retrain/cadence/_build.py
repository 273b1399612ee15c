"""The replay of a task, kept in the cache folder, so that no model is fitted twice whatever the prices and policies."""

from __future__ import annotations

import functools
import os
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from weigh.choice import content_digest
from weigh.data import cache_folder
from weigh.data.cache import replacing
from weigh.retrain.cadence import CadenceTask, _estimator
from weigh.retrain.cadence._folder import alone_in, keep_newest
from weigh.retrain.cadence._history import history_of
from weigh.retrain.cadence._pass import Pass
from weigh.retrain.cadence._replay import Replay

_LAYOUT, _KEPT_MB = 2, 2000


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
    """The replay of a folder, made by whoever comes first; others wait for it."""
    whole = folder / "replay.npz"
    try:
        made = _loaded(whole)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # not there yet, or damaged
        with alone_in(folder):
            if not _loads(whole):
                whole.unlink(missing_ok=True)
                _make(folder, task)
        keep_newest(folder.parent, _KEPT_MB)
        made = _loaded(whole)
    os.utime(folder)
    return made


def _loads(path: Path) -> bool:
    try:
        Replay.load(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return False
    return True


def _make(folder: Path, task: CadenceTask) -> None:
    estimator, learners = _estimator.batch(task), _estimator.incremental(task)
    made = Pass(task, history_of(task))
    made.check_start()
    with _recorded() as notes:
        tables = made.run(estimator, learners, folder)
    with replacing(folder / "replay.npz") as temporary:
        made.replay(tables, notes).save(temporary)
    for part in folder.glob("0*.npz"):
        part.unlink(missing_ok=True)


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
