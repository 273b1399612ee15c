"""A/A races and planted losers on every choice: how often the scale claims what is not so.

``make bench-honesty [ARGS="--runs 500 --losers 100 --choice NAME"]``: for each choice in the catalog, its two twins
(options of the same worth, each with randomness of its own) race `runs` times without constraints, and must come out as
a tie; and its planted loser races `losers` times against the baseline under the choice's own constraints, and must
never be chosen.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Literal

from benchmarks._ask import at_least, told
from benchmarks._result import report, table
from weigh import Decision, Ledger, Option, catalog, flow
from weigh.choice import Task
from weigh.decision import Lock
from weigh.engine.inline import InlineEngine

ALPHA = 0.05


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


def _races(name: str, kind: Literal["twins", "loser"], seeds: range) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        task = catalog.choice(name).toy(Path(folder))
        with Ledger(Path(folder) / "ledger.db") as ledger:
            return [race(name, task, kind, seed, ledger) for seed in seeds]


def count(name: str, kind: Literal["twins", "loser"], runs: int, workers: int = 2) -> Counter[str]:
    """Verdicts of many races, with seeds 0 to `runs`, spread over processes."""
    if workers == 1:
        return Counter(_races(name, kind, range(runs)))
    parts = [range(start, runs, 2 * workers) for start in range(2 * workers)]
    with ProcessPoolExecutor(workers) as pool:
        found = pool.map(_races, [name] * len(parts), [kind] * len(parts), parts)
    return sum((Counter(part) for part in found), Counter())


def main() -> None:
    """Race, print, write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=at_least(1), default=500, help="A/A races a choice")
    arguments.add_argument("--losers", type=at_least(1), default=100, help="races with the planted loser a choice")
    arguments.add_argument("--choice", action="append")
    asked = arguments.parse_args()
    rows, figures = [], {"runs": asked.runs, "loser_runs": asked.losers, "alpha": ALPHA}
    names = asked.choice or sorted(catalog.choices())
    with told():
        for name in names:
            catalog.choice(name)
    for name in names:
        twins, losers = count(name, "twins", asked.runs), count(name, "loser", asked.losers)
        ties, key = (twins["tie"] + twins["equal"]) / asked.runs, name.replace("/", "_")
        rows.append((name, ties, twins["equal"] / asked.runs, twins["better"], losers["chosen"], losers["rejected"]))
        figures |= {f"{key}_tie_rate": ties, f"{key}_certified_rate": twins["equal"] / asked.runs}
        figures |= {f"{key}_loser_chosen": losers["chosen"], f"{key}_loser_rejected": losers["rejected"]}
        print(f"{name}: twins {dict(twins)}, loser {dict(losers)}", flush=True)
    columns = (
        f"of {asked.runs} A/A races and {asked.losers} with the planted loser",
        "A/A tie rate (target 0.95)",
        "of them certified within epsilon",
        "a twin called better",
        "loser chosen (target 0)",
        "loser rejected",
    )
    table(columns, rows)
    report("honesty", figures)


if __name__ == "__main__":
    main()
