"""Halving against its rivals: how often each loses the best, parts twins, and what it trains.

``make bench-halving [ARGS="--runs 200 --rows 1000"]``. Curves are trained once (three minutes) and kept in the cache.
Optuna's pruners take part where Optuna is installed (``pip install "weigh[bench]"``).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping

import numpy as np

from benchmarks._ask import at_least
from benchmarks._result import report, table
from benchmarks.halving.curves import EPOCHS, Curves, families
from benchmarks.halving.rules import Rule, rules
from weigh.scale.interval import wilson

COLUMNS = (
    "rule",
    "best lost",
    "lost by over 0.5 pp",
    "twins parted",
    "budget (1: all)",
    "taken is behind, pp",
    "answered",
)


def score(rule: Rule, curves: Curves, rows: int, runs: int) -> dict[str, float]:
    """What a rule did over many draws of units from one family.

    The best is lost when no contestant of its worth is in the answer, or none that is at most half a point behind;
    twins of the best are parted when some are in it and some are not; the budget is a share of the epochs that training
    everything to the end takes.
    """
    best, ends = set(curves.best.tolist()), curves.truth[:, -1]
    spent = np.array([0, *EPOCHS])
    told = []
    for run in range(runs):
        found = rule(curves.draw(rows, np.random.default_rng(run)), EPOCHS, run)
        kept = best & set(found.answer)
        budget = spent[found.reached].sum() / (EPOCHS[-1] * len(ends))
        far = ends[found.answer].max() < ends.max() - 0.005
        behind = 100 * (ends.max() - ends[found.taken])
        told.append((not kept, far, 0 < len(kept) < len(best), budget, behind, len(found.answer)))
    means = np.mean(told, axis=0).tolist()
    names = (
        "best_lost_rate",
        "lost_half_a_point_rate",
        "twins_parted_rate",
        "budget_fraction",
        "behind_pp",
        "answered",
    )
    return dict(zip(names, means, strict=True))


def main() -> None:
    """Score every rule on every family, print, write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=at_least(1), default=200, help="draws of units a family")
    arguments.add_argument("--rows", type=at_least(1), default=1000, help="rows that options are judged on, a rung")
    asked = arguments.parse_args()
    figures: dict[str, object] = {"runs": asked.runs, "rows": asked.rows}
    for curves in families():
        found = {name: score(rule, curves, asked.rows, asked.runs) for name, rule in rules().items()}
        table((f"{curves.name}: {COLUMNS[0]}", *COLUMNS[1:]), [(name, *row.values()) for name, row in found.items()])
        print(
            "  the best at the end is behind by",
            ", ".join(f"{100 * one:.2f}" for one in curves.behind()),
            "pp on rungs",
        )
        figures |= {f"{_key(curves.name)}__{_key(name)}": _rounded(row, asked.runs) for name, row in found.items()}
    report("halving", figures)


def _key(name: str) -> str:
    return re.sub("[^a-z0-9]+", "_", name.lower())


def _rounded(row: Mapping[str, float], runs: int) -> dict[str, float]:
    most = wilson(round(row["best_lost_rate"] * runs), runs)[1]
    return {name: round(value, 4) for name, value in {**row, "best_lost_at_most": most}.items()}


if __name__ == "__main__":
    main()
