"""Optuna's WilcoxonPruner at its defaults, in a study: a trial is an option, a step an instance of 250 units or more.

Options are tried in random order. After each step the pruner compares the trial with the best one so far by a Wilcoxon
signed-rank test at p < 0.1, again and again, as its own documentation points out. Limits enter by a penalty, as people
do it where a pruner knows none. In the end the point rule picks from the last estimates of all options. Scores get
noise of a billionth: with ties scipy would go through thousands of permutations a test, to about the same p.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.decisions.asked import Asked, Meter, Shipped
from benchmarks.decisions.rules import _blockwise
from benchmarks.decisions.rules._estimate import Sheet

if TYPE_CHECKING:
    import optuna

SLOW = True
NOISE = 1e-9


def decide(asked: Asked, meter: Meter, seed: int) -> Shipped:
    """Run the study, and ship the best by the last estimates."""
    import optuna

    sheet = Sheet(asked, meter)
    if not sheet.gauges:
        return sheet.best(sheet.candidates)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    random = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is experimental, and what is approximate
        study = optuna.create_study(pruner=optuna.pruners.WilcoxonPruner(), sampler=optuna.samplers.RandomSampler(seed))
        for place in random.permutation(sheet.candidates).tolist():
            trial = study.ask()
            study.tell(trial, _try(sheet, trial, place, random))
    return sheet.best(sheet.candidates)


def _try(sheet: Sheet, trial: optuna.Trial, place: int, random: np.random.Generator) -> float:
    """The mean score of the steps until the trial is pruned, or has seen all: what the documentation suggests."""
    places, scores = np.array([place]), []
    while _blockwise.left(sheet, place):
        for score in _blockwise.measured(sheet, places)[:, 0].tolist():
            scores.append(score)
            trial.report(score + NOISE * random.standard_normal(), len(scores) - 1)
            if trial.should_prune():
                return float(np.mean(scores))
    return float(np.mean(scores))
