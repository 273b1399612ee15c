"""A/A: an option against its twin, which is the same column of a table drawn on other rows; none is the better one.

How often is one called better all the same? weigh's race drops it; Optuna's WilcoxonPruner, at its defaults, prunes it.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.decisions import rulebook
from benchmarks.decisions.asked import Array
from benchmarks.decisions.family import Family
from benchmarks.decisions.kept import FOLDER, Kept, of_arrays
from weigh.scale.gauge import Gauge
from weigh.scale.race import Race

ALPHA = 0.05
BLOCKS = 100
"""Blocks that each twin is measured on, at most."""
NOISE = 1e-9
"""Added to scores that Optuna sees: with ties scipy goes through thousands of permutations a test."""


@dataclass(frozen=True, slots=True)
class Column:
    """What one option gave on every unit of a table."""

    gauge: Gauge
    values: Array
    block: int

    def twins(self, random: np.random.Generator) -> Array:
        """Two independent draws of the column: shape (2, BLOCKS, block)."""
        return self.values[random.integers(0, len(self.values), (2, BLOCKS, self.block))]


def columns(family: Family, count: int = 4) -> list[Column]:
    """Some options of a family in its objective, or in its first mean where that is exact; none of a series."""
    means = [gauge for gauge in family.gauges if gauge.kind == "mean" and not family.serial]
    if not means:
        return []
    gauge = next((gauge for gauge in means if gauge.name == family.objective), means[0])
    places = np.linspace(0, len(family.options) - 1, count).astype(int).tolist()
    values = [np.ascontiguousarray(family.values[gauge.name][:, place]) for place in places]
    return [Column(replace(gauge, population=None), of, family.block) for of in values]


def weigh(column: Column, seed: int) -> bool:
    """One race of twins, without limits: whether one of them was dropped."""
    one, other = column.twins(np.random.default_rng(seed))
    race = Race(("one", "other"), "one", (column.gauge,), (), column.gauge.name, ALPHA, 0.0, blocks=BLOCKS)
    for block in range(BLOCKS):
        if race.settled():
            break
        race.add(block, {"one": {column.gauge.name: one[block]}, "other": {column.gauge.name: other[block]}})
        race.judge(block)
    return len(race.live()) == 1


def wilcoxon_pruner(column: Column, seed: int) -> bool:
    """A study of two trials, a step a block: whether the second was pruned."""
    import optuna

    random = np.random.default_rng(seed)
    means = column.twins(random).mean(axis=2)
    means += NOISE * random.standard_normal(means.shape)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is experimental, and what is approximate
        direction = "minimize" if column.gauge.better == "lower" else "maximize"
        study = optuna.create_study(direction=direction, pruner=optuna.pruners.WilcoxonPruner())
        first = study.ask()
        for step, mean in enumerate(means[0].tolist()):
            first.report(mean, step)
        study.tell(first, float(means[0].mean()))
        second = study.ask()
        for step, mean in enumerate(means[1].tolist()):
            second.report(mean, step)
            if second.should_prune():
                return True
    return False


RULES: dict[str, Callable[[Column, int], bool]] = {"weigh": weigh, "wilcoxon_pruner": wilcoxon_pruner}


def rates(found: Sequence[Column], runs: int, workers: int = 2, folder: Path = FOLDER) -> dict[str, float]:
    """By rule the share of runs in which one of the twins was called better; kept as outcomes of rules are."""
    told: dict[str, float] = {}
    digest = of_arrays([repr((column.gauge, column.block)) for column in found], [column.values for column in found])
    for rule in RULES:
        code = rulebook.digest(str(Path(__file__))) if rule == "weigh" else ""
        path = folder / "twins" / f"{rule}-{of_arrays([digest, code, repr((runs, BLOCKS, ALPHA))], [])[:16]}.json"
        if not path.exists():
            Kept(folder).write(path, json.dumps({"better": _count(found, rule, runs, workers), "runs": runs}))
        told[rule] = json.loads(path.read_text())["better"] / runs
    return told


def _count(found: Sequence[Column], rule: str, runs: int, workers: int) -> int:
    if workers == 1:
        return _share(found, rule, range(runs))
    parts = [range(start, runs, 4 * workers) for start in range(4 * workers)]
    with ProcessPoolExecutor(workers) as pool:
        return sum(pool.map(_share, [found] * len(parts), [rule] * len(parts), parts))


def _share(found: Sequence[Column], rule: str, seeds: range) -> int:
    return sum(RULES[rule](found[seed % len(found)], seed) for seed in seeds)
