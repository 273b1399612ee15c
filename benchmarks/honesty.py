"""A/A races and planted losers on every choice: how often the scale claims what is not so.

``make bench-honesty [ARGS="--runs 500 --losers 100 --minutes 10 --choice NAME"]``: for each choice in the catalog, its
two twins (options of the same worth, each with randomness of its own) race `runs` times without constraints, and must
come out as a tie; and its planted loser races `losers` times against the baseline under the choice's own constraints,
and must never be chosen. A choice whose races take long has fewer of them: no new ones begin after `minutes`, once
there are twenty. What was found of choices that are not asked for stays.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Literal

from benchmarks._ask import at_least, told
from benchmarks._result import RESULTS, commit, report, table
from weigh import Decision, Ledger, Option, catalog, flow
from weigh.choice import Task
from weigh.decision import Lock
from weigh.engine.inline import InlineEngine

ALPHA = 0.05
LEAST, EACH = 20, 5


def race(name: str, task: Task, kind: Literal["twins", "loser"], seed: int, ledger: Ledger) -> str:
    """What came of one race: of twins `better`, `equal` (certified to lie within epsilon), `tie` or `undecided`; of a
    loser `chosen`, `rejected` (certified) or `left open`."""
    made = catalog.choice(name)
    options: Sequence[Option] = made.twins() if kind == "twins" else (catalog.find(made, made.baseline), made.loser())
    question = flow.Question(choice=name, alpha=ALPHA, seed=seed, require=() if kind == "twins" else None)
    with InlineEngine() as engine:
        locked = flow.lock(made, question, task, options, engine)
        if kind == "twins":
            locked = locked.model_copy(update={"baseline": options[0].spec})
        ledger.save_lock(locked)
        decision = flow.run(locked, ledger, engine, exhibits=False)
    return _of_twins(locked, decision) if kind == "twins" else _of_loser(decision, options[1].spec)


def _of_twins(lock: Lock, decision: Decision) -> str:
    if decision.verdict != "tie":
        return "better" if decision.verdict == "chosen" else "undecided"
    leads = [standing.advantage for standing in decision.standings if standing.advantage]
    within = [lead.low is not None and lead.low >= -lock.epsilon and lead.high <= lock.epsilon for lead in leads]
    return "equal" if all(within) else "tie"


def _of_loser(decision: Decision, loser: str) -> str:
    if decision.verdict in ("chosen", "tie") and decision.chosen == loser:
        return "chosen"
    return "rejected" if decision.standing(loser).outcome in ("violates", "dominated", "failed") else "left open"


def _races(name: str, task: Task, kind: Literal["twins", "loser"], seeds: Sequence[int]) -> list[str]:
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.db") as ledger:
        return [race(name, task, kind, seed, ledger) for seed in seeds]


def count(name: str, kind: Literal["twins", "loser"], runs: int, minutes: float, workers: int = 2) -> Counter[str]:
    """Verdicts of races with the seeds 0, 1, 2 and so on, spread over processes that nothing was loaded into before."""
    end, found = time.monotonic() + 60 * minutes, Counter[str]()
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        task = catalog.choice(name).toy(Path(folder))
        for group in batched(range(runs), EACH * workers):
            parts = [group[start::workers] for start in range(workers)]
            for part in pool.map(_races, *zip(*((name, task, kind, part) for part in parts))):
                found += Counter(part)
            if time.monotonic() > end and found.total() >= LEAST:
                break
    return found


def batched(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Neighbours, so many at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))


def _kept(names: Sequence[str]) -> dict[str, object]:
    """The figures of an earlier run on other choices, each with the commit that it is of."""
    file = RESULTS / "honesty.json"
    kept = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"figures": {}, "commit": ""}
    known = kept["figures"]
    for key in (name.removesuffix("_tie_rate") for name in list(known) if name.endswith("_tie_rate")):
        known.setdefault(f"{key}_commit", kept["commit"])
        known.setdefault(f"{key}_runs", known.get("runs"))
        known.setdefault(f"{key}_loser_runs", known.get("loser_runs"))
    others = tuple(name.replace("/", "_") for name in catalog.choices() if name not in names)
    return {name: value for name, value in known.items() if name.startswith(others)}


def main() -> None:
    """Race, print, write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=at_least(1), default=500, help="A/A races a choice")
    arguments.add_argument("--losers", type=at_least(1), default=100, help="races with the planted loser a choice")
    arguments.add_argument("--minutes", type=float, default=10.0, help="no new races of a kind of a choice after that")
    arguments.add_argument("--choice", action="append")
    asked = arguments.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    names = asked.choice or sorted(catalog.choices())
    with told():
        for name in names:
            catalog.choice(name)
    rows, figures = [], {"alpha": ALPHA, **_kept(names)}
    for name in names:
        twins = count(name, "twins", asked.runs, asked.minutes)
        losers = count(name, "loser", asked.losers, asked.minutes)
        runs, key = twins.total(), name.replace("/", "_")
        ties, equal = (twins["tie"] + twins["equal"]) / runs, twins["equal"] / runs
        rows.append((name, runs, ties, equal, twins["better"], losers.total(), losers["chosen"], losers["rejected"]))
        figures |= {
            f"{key}_commit": commit(),
            f"{key}_runs": runs,
            f"{key}_tie_rate": ties,
            f"{key}_certified_rate": equal,
        }
        figures |= {f"{key}_twin_called_better": twins["better"], f"{key}_loser_runs": losers.total()}
        figures |= {f"{key}_loser_chosen": losers["chosen"], f"{key}_loser_rejected": losers["rejected"]}
        print(f"{name}: twins {dict(twins)}, loser {dict(losers)}", flush=True)
    columns = (
        "choice",
        "A/A races",
        "tie rate (target 0.95)",
        "of them certified within epsilon",
        "a twin called better",
        "races with the planted loser",
        "loser chosen (target 0)",
        "loser rejected",
    )
    table(columns, rows)
    report("honesty", figures)


if __name__ == "__main__":
    main()
