"""What many outcomes say of a rule: floors violated, cost, measuring, beside the peers'."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.compress.rivals import Outcome


def figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """weigh's figures against each peer's, on the draws that all of them played; then a row a rule, task and floor."""
    found = _by_rule(outcomes)
    whole = {rule: list(of.values()) for rule, of in found.items()}
    told: dict[str, Any] = {"floors_violated": sum(one.violated for one in whole.get("weigh", []))}
    told["rival_draws"] = len(whole.get("weigh", []))
    for rule in found:
        if rule != "weigh":
            told[f"{rule}_floors_violated"] = sum(one.violated for one in whole[rule])
            told |= _against(rule, whole["weigh"], whole[rule])
    told["rules"] = {rule: _row(of) for rule, of in whole.items()}
    told["by_question"] = {
        f"{rule}, {question}": _row(of) for rule, of in whole.items() for question, of in _questions(of).items()
    }
    return told


def _by_rule(outcomes: Sequence[Outcome]) -> dict[str, dict[str, Outcome]]:
    """By rule and draw; a draw that one of them has not played yet is left out."""
    made: dict[str, dict[str, Outcome]] = defaultdict(dict)
    for one in outcomes:
        made[one.rule][one.key] = one
    shared = set.intersection(*(set(of) for of in made.values())) if made else set()
    return {rule: {key: of[key] for key in sorted(shared)} for rule, of in made.items()}


def _questions(of: Sequence[Outcome]) -> Mapping[str, list[Outcome]]:
    made: dict[str, list[Outcome]] = defaultdict(list)
    for one in of:
        task, floor, _ = one.key.rsplit("-", 2)
        made[f"{task}, floor {floor}"].append(one)
    return made


def _against(rule: str, ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> dict[str, Any]:
    """Ratios over the same draws: the mean size, the rows looked at, the CPU time; 1 is as much as the peer."""
    certified = [(a, b) for a, b in zip(ours, theirs, strict=True) if a.certified]
    told: dict[str, Any] = {
        f"cost_ratio_{rule}": _ratio([one.size for one in ours], [one.size for one in theirs]),
        f"measuring_ratio_{rule}": _ratio([one.rows for one in ours], [one.rows for one in theirs]),
        f"cpu_ratio_{rule}": _ratio([one.cpu_seconds for one in ours], [one.cpu_seconds for one in theirs]),
    }
    if certified:
        told[f"cost_ratio_{rule}_where_certified"] = _ratio(
            [a.size for a, _ in certified], [b.size for _, b in certified]
        )
    return told


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return round(float(np.mean(ours) / np.mean(theirs)), 4)


def _row(of: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "draws": len(of),
        "violated": sum(one.violated for one in of),
        "compressed": round(float(np.mean([one.certified for one in of])), 4),
        "size": round(float(np.mean([one.size for one in of])), 4),
        "worst_drop": round(max((one.drop for one in of), default=0.0), 5),
        "rows": round(float(np.mean([one.rows for one in of])), 1),
        "cpu_minutes": round(float(np.mean([one.cpu_seconds for one in of])) / 60, 5),
    }
