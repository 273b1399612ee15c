"""Rules that say which options of a ladder of rungs to train further, and which to take."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from weigh.scale.gauge import Gauge
from weigh.scale.halving import Halving, Rung

Array = NDArray[np.float64]


class Found(NamedTuple):
    """What a rule answers.

    Attributes:
        answer: the contestants that it says are best, or not told apart from the best.
        taken: the one of them that it takes.
        reached: on how many rungs each was trained, shape (options,); what is taken is trained to the end.
    """

    answer: list[int]
    taken: int
    reached: NDArray[np.intp]


Rule = Callable[[Array, tuple[int, ...], int], Found]
"""From values (options, rungs, rows), epochs a rung and a seed."""

RIGHT = Gauge("right", "mean", "higher")
ALPHA, BLOCKS, ETA = 0.05, 5, 3
SLACK = (0.1, 0.05, 0.02, 0.01)
"""Stated after the real curves had been seen: twice, or more, what their best is behind on the way."""


def weigh(slack: tuple[float, ...] = (), keep: bool = False) -> Rule:
    """Ours, with a slack a rung, or a cap: at most a third goes on."""

    def rule(values: Array, epochs: tuple[int, ...], seed: int) -> Found:
        options, count, rows = values.shape
        rungs = [
            Rung(
                BLOCKS,
                slack=(*slack, *[0.0] * count)[rung],
                keep=max(options // ETA ** (rung + 1), 1) if keep else None,
            )
            for rung in range(count)
        ]
        rungs[-1] = Rung(BLOCKS)
        names = [str(option) for option in range(options)]
        race = Halving(names, "0", [RIGHT], [], "right", ALPHA, 0.0, rungs=rungs)
        reached, batch = np.zeros(options, dtype=np.intp), rows // BLOCKS
        while not race.settled():
            block, wanted = race.next()
            start = batch * (block - BLOCKS * race.rung)
            for name in wanted:
                reached[int(name)] = race.rung + 1
            race.add(block, {name: {"right": values[int(name), race.rung, start : start + batch]} for name in wanted})
            race.judge(block)
        answer = [int(name) for name in race.live()]
        taken = int(min(race.live(), key=race.rank))
        reached[taken] = count
        return Found(answer, taken, reached)

    return rule


def to_the_end(values: Array, epochs: tuple[int, ...], seed: int) -> Found:
    """Train all to the end, and take the best by point estimates."""
    best = int(values[:, -1].mean(axis=1).argmax())
    return Found([best], best, np.full(len(values), values.shape[1]))


def plain(values: Array, epochs: tuple[int, ...], seed: int) -> Found:
    """Successive halving: the best third by point estimates goes on."""
    means, left = values.mean(axis=2), np.arange(len(values))
    reached = np.zeros(len(values), dtype=np.intp)
    for rung in range(values.shape[1]):
        reached[left] = rung + 1
        left = left[np.argsort(-means[left, rung], kind="stable")]
        left = left[: max(len(left) // ETA, 1)]
    return Found([int(left[0])], int(left[0]), reached)


def optuna(pruner: str) -> Rule:
    """One of Optuna's pruners, with trials one after the other in random order."""

    def rule(values: Array, epochs: tuple[int, ...], seed: int) -> Found:
        import optuna

        optuna.logging.set_verbosity(logging.ERROR)
        kinds = {
            "SuccessiveHalvingPruner": optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=ETA),
            "HyperbandPruner": optuna.pruners.HyperbandPruner(
                min_resource=1, max_resource=epochs[-1], reduction_factor=ETA
            ),
        }
        study = optuna.create_study(direction="maximize", pruner=kinds[pruner], study_name=str(seed))
        means, reached = values.mean(axis=2), np.zeros(len(values), dtype=np.intp)
        order = np.random.default_rng(seed).permutation(len(values))
        for option in order:
            _climb(study, means[option], epochs, reached, int(option))
        taken = int(order[study.best_trial.number])
        return Found([taken], taken, reached)

    return rule


def _climb(study: object, means: Array, epochs: tuple[int, ...], reached: NDArray[np.intp], option: int) -> None:
    import optuna

    trial = study.ask()  # type: ignore[attr-defined]
    for rung, step in enumerate(epochs):
        reached[option] = rung + 1
        trial.report(float(means[rung]), step)
        if rung < len(epochs) - 1 and trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)  # type: ignore[attr-defined]
            return
    study.tell(trial, float(means[-1]))  # type: ignore[attr-defined]


def rules() -> dict[str, Rule]:
    """Every rule that can run here, ours first."""
    found: dict[str, Rule] = {
        "weigh": weigh(),
        "weigh, slack": weigh(SLACK),
        "weigh, slack, a third kept": weigh(SLACK, keep=True),
        "train all to the end": to_the_end,
        "successive halving": plain,
    }
    if importlib.util.find_spec("optuna"):
        found |= {f"Optuna {name}": optuna(name) for name in ("SuccessiveHalvingPruner", "HyperbandPruner")}
    return found
