"""Compression: which candidates are on the front, what peers choose under the same floor, what measuring costs.

``make bench-compress [ARGS="--part fronts --resamples 500 --draws 36"]`` does four things. A run of
some parts leaves the figures of the others as they are, each part with the commit that it was run on (``commits``).
What was played is kept under ``benchmarks/results/.compress``, so that a killed run goes on.

**fronts**: tables of 24 to 40 compressed candidates (options of compress/quantize on a trained net, on narrower and on
pruned ones, timed too; and two families of bench-decisions), each judged on every row and timed in every round. A
resample is new rows and runs of rounds out of the table; `weigh.scale.front.Front` may measure a third of it. Counted
is the share of resamples in which a candidate that none dominates in truth is called dominated, and in which one of all
intervals leaves out its truth. Estimates alone, from a third of the rows of every candidate, are beside it.

**rivals**: `weigh.decide("compress/quantize")`, Intel Neural Compressor's accuracy-driven tuning and Olive's search get
the same model, 1,000 rows, 200 rows to calibrate on and floor, again and again. What each ships is judged on all rows
that there are. Peers run in environments of their own under the user's cache folder, which are made where they are not.

**models**: the same on all-MiniLM-L6-v2 (labelled texts; accuracy may fall by 0.02) and on SmolLM2-135M (a text; 0.02
nats a token may be lost), against Neural Compressor's tuning of the encoder's ONNX export, and its `autotune` of the
language model in torch: the first of its roundings to 4 and 8 bits, smallest first, that keeps to the limit.

**overhead**: a trial of compress/quantize against the bare calls of ONNX Runtime that do the same work, in turns.

Targets: false dominance <= 5 %, coverage >= 93 %, <= 1/3 measured; no floor violated, a cost as low as the peers', in a
quarter of their measuring; overhead < 2 %.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")  # processes, not threads, share the cores

from benchmarks._ask import at_least, told
from benchmarks._result import RESULTS, commit, report, table

SIGNS = {"fronts": "false_dominance", "rivals": "rules", "models": "models", "overhead": "overhead"}
"""A figure of each part, which says that it was run."""
PARTS = ("fronts", "rivals", "models", "overhead")
SLOW = ("fashion", "digits")
"""Nets of pictures, on which each draw takes minutes of all rules together."""


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What is typed."""
    known = argparse.ArgumentParser(
        prog="python -m benchmarks.compress", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known.add_argument("--part", action="append", choices=PARTS, help="this part; again for more; all by default")
    known.add_argument("--resamples", type=at_least(1), default=500, help="resamples of each table")
    known.add_argument("--draws", type=at_least(1), default=36, help="draws of the rows, for each floor")
    known.add_argument("--slow-draws", type=at_least(1), default=8, help=f"the same for {', '.join(SLOW)}")
    known.add_argument("--model-draws", type=at_least(1), default=2, help="draws of each pretrained model")
    known.add_argument("--seconds", type=at_least(1), help="stop after about so many seconds, and write nothing")
    known.add_argument("--jobs", type=at_least(1), default=2, help="processes that play")
    known.add_argument("--again", action="store_true", help="forget what was played before")
    return known.parse_args(words)


def main() -> None:
    """Play, print, write."""
    asked = arguments()
    with told():
        _all(asked)


def _all(asked: argparse.Namespace) -> None:
    from benchmarks.compress.fronts import FOLDER

    if asked.again:
        shutil.rmtree(FOLDER, ignore_errors=True)
    parts = {"fronts": _fronts, "rivals": _rivals, "models": _models, "overhead": _overhead}
    found: dict[str, Any] = {} if asked.seconds else _kept()
    for name in asked.part or PARTS:
        found |= parts[name](asked)
        found["commits"] = {**found.get("commits", {}), name: commit()}
    ours = [found.get("rules", {}), *(of["rules"] for of in found.get("models", {}).values())]
    found["floors_violated"] = sum(of["weigh"]["violated"] for of in ours if "weigh" in of)
    if asked.seconds:
        print(json.dumps(found), flush=True)
    else:
        report("compress", found)


def _kept() -> dict[str, Any]:
    """The figures of all parts as they were last run, with the commit of each."""
    file = RESULTS / "compress.json"
    if not file.is_file():
        return {}
    kept = json.loads(file.read_text())
    known: dict[str, Any] = kept["figures"]
    there = {name: kept["commit"] for name, figure in SIGNS.items() if figure in known}
    return {**known, "commits": {**there, **known.get("commits", {})}}


def _fronts(asked: argparse.Namespace) -> dict[str, Any]:
    from benchmarks.compress import fronts

    found, end = {}, time.monotonic() + (asked.seconds or float("inf"))
    for question in fronts.QUESTIONS:
        found[question] = fronts.played(*question, asked.resamples, asked.jobs, end)
        print(f"{' against '.join(question)}: {len(found[question])} resamples", flush=True)
    made = fronts.figures({question: plays for question, plays in found.items() if plays})
    columns = (
        "candidates", "on_front", "false_dominance", "coverage", "measured_fraction", "dominated_found", "settled",
        "point_false_dominance",
    )  # fmt: skip
    rows: Mapping[str, Mapping[str, Any]] = made["questions"]
    table(("front", *columns), [(name, *(row[column] for column in columns)) for name, row in rows.items()])
    return made


def _rivals(asked: argparse.Namespace) -> dict[str, Any]:
    from benchmarks.compress import rivals, scores

    end, outcomes = time.monotonic() + (asked.seconds or float("inf")), []
    for task in rivals.TASKS:
        outcomes += rivals.collect(asked.slow_draws if task in SLOW else asked.draws, asked.jobs, [task], end)
    made = scores.figures(outcomes)
    rows: Mapping[str, Mapping[str, Any]] = made["rules"]
    columns = list(next(iter(rows.values())))
    table(("rule", *columns), [(name, *row.values()) for name, row in rows.items()])
    return made if asked.seconds else made | _duets(rivals.TASKS)


def _duets(tasks: Sequence[str]) -> dict[str, Any]:
    """The time of what each rule chose on one draw, against the model as it is."""
    from benchmarks.compress import duets

    found = {task: duets.ratios(task) for task in tasks}
    rows = [(task, rule, *ratio) for task, of in found.items() for rule, ratio in of.items()]
    table(("task", "rule", "latency ratio", "low", "high"), rows)
    return {"latency_ratio": {task: {rule: round(of[rule][0], 4) for rule in of} for task, of in found.items()}}


def _models(asked: argparse.Namespace) -> dict[str, Any]:
    from benchmarks.compress import models

    end = time.monotonic() + (asked.seconds or float("inf"))
    made = models.figures(models.collect(asked.model_draws, end))
    rows = [(name, rule, row) for name, of in made["models"].items() for rule, row in of["rules"].items()]
    columns = list(rows[0][2]) if rows else []
    table(("model", "rule", *columns), [(name, rule, *row.values()) for name, rule, row in rows])
    return made


def _overhead(asked: argparse.Namespace) -> dict[str, Any]:
    from benchmarks.compress import overhead

    found = {name: overhead.measured(name) for name in overhead.TASKS}
    rows = [(name, one.estimate - 1, one.low - 1, one.high - 1) for name, one in found.items()]
    table(("trial against bare calls", "overhead", "low", "high"), rows)
    worst = max(found.values(), key=lambda one: one.estimate)
    each = {f"overhead_{name}": round(one.estimate - 1, 4) for name, one in found.items()}
    return {"overhead": round(worst.estimate - 1, 4), "overhead_high": round(worst.high - 1, 4), **each}


if __name__ == "__main__":
    main()
