"""Faults in pipelines over SmolLM2 that `weigh parity` must find and blame on the right hop; and pipelines without any.

``make bench-parity [ARGS="--only transposed_layer --fresh"]``: 20 pipelines (float32 base -> LoRA merge -> cast ->
quantize, GGUF or ONNX, as real files), each with one fault in one hop, and 20 that are right, with types, tools and
seeds that vary. Tolerances are those of the kinds of hops, and were set on pipelines with seeds below 100; those that
are counted here have seeds from 1,000 on. What was measured is kept in the cache folder, so that a run that was stopped
goes on; `--fresh` forgets it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks._result import report, table
from benchmarks.parity.faults import FAULTS
from benchmarks.parity.pipelines import CLEAN, SEED, Pipeline, Work
from weigh.data.cache import cache_folder

Case = dict[str, Any]


def run(name: str, make: Callable[[Work], Pipeline], origin: Path, folder: Path, seed: int) -> Case:
    """Build one pipeline, certify it, and throw its files away.

    Returns: what was said, beside what is true; seconds are CPU seconds of the certificate alone.
    """
    from weigh.parity import Asked, certify_chain

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        made = make(Work(origin, folder, seed))
        clock = time.process_time()
        chain = certify_chain(made.stages, made.hops, Asked(seed=seed, stop=True))
        seconds = time.process_time() - clock
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    first = chain.certificates[chain.blamed - 1].findings[0] if chain.blamed else None
    return {
        "name": name,
        "seed": seed,
        "broken": made.broken,
        "blamed": chain.blamed or 0,
        "layer": chain.layer,
        "topics": sorted({one.topic for one in chain.certificates[chain.blamed - 1].findings}) if chain.blamed else [],
        "first": first.what if first else "",
        "gaps": [one.behaviour.gap_mean if one.behaviour else None for one in chain.certificates],
        "seconds": seconds,
        "wall": chain.seconds,
    }


def figures(cases: list[Case]) -> dict[str, Any]:
    """What is claimed."""
    faults = [case for case in cases if case["broken"]]
    clean = [case for case in cases if not case["broken"]]
    seconds = [case["seconds"] for case in cases]
    return {
        "faults": len(faults),
        "faults_found": sum(case["blamed"] > 0 for case in faults),
        "hops_blamed": sum(case["blamed"] == case["broken"] for case in faults),
        "clean_pipelines": len(clean),
        "false_alarms": sum(case["blamed"] > 0 for case in clean),
        "seconds_max": max(seconds, default=0.0),
        "seconds_median": median(seconds) if seconds else 0.0,
        "missed": [case["name"] for case in faults if not case["blamed"]],
        "blamed_wrongly": [case["name"] for case in faults if case["blamed"] not in (0, case["broken"])],
    }


def main() -> None:
    """Build, certify, print, write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    names = [*FAULTS, *CLEAN]
    arguments.add_argument("--only", action="append", choices=names, help="these pipelines; writes no result")
    arguments.add_argument("--kept", action="store_true", help="measure nothing: write what was measured so far")
    arguments.add_argument("--model", type=Path, help="a Llama's folder instead of SmolLM2; writes no result")
    arguments.add_argument("--seed", type=int, default=SEED, help="of the first pipeline")
    arguments.add_argument("--fresh", action="store_true", help="measure again what is kept")
    arguments.add_argument("--seconds", type=float, default=1e9, help="start no further pipeline after so long")
    asked = arguments.parse_args()
    for case in (cases := cases_of(asked)):
        print(json.dumps(case), flush=True)
    table(
        ["pipeline", "fault in hop", "blamed", "layer", "topics", "CPU s"],
        [(c["name"], c["broken"], c["blamed"], c["layer"], ", ".join(c["topics"]), c["seconds"]) for c in cases],
    )
    if asked.only or asked.model or (len(cases) < len(FAULTS) + len(CLEAN) and not asked.kept):
        print(json.dumps(figures(cases)), flush=True)
    else:
        there = {case["name"] for case in cases}
        report("parity", figures(cases) | {"not_measured": [name for name in FAULTS | CLEAN if name not in there]})


def cases_of(asked: argparse.Namespace) -> list[Case]:
    """Every case that was asked for, out of the cache where it is there."""
    import torch
    from transformers.utils import logging

    from weigh.data import smollm2

    torch.set_num_threads(1)
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    origin = asked.model or smollm2.path()
    kept = cache_folder() / f"bench-parity{'' if asked.model is None else '-' + asked.model.name}"
    if asked.fresh:
        shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True, exist_ok=True)
    cases, start = [], time.perf_counter()
    for at, (name, make) in enumerate((FAULTS | CLEAN).items()):
        file = kept / f"{name}-{asked.seed + at}.json"
        if asked.only and name not in asked.only:
            continue
        if not file.is_file():
            if asked.kept or time.perf_counter() - start > asked.seconds:
                continue
            case = run(name, make, origin, kept / f"work-{name}", asked.seed + at)
            print(f"{name}: hop {case['broken']}, blamed {case['blamed']}, {case['seconds']:.0f} s", flush=True)
            file.write_text(json.dumps(case))
        cases.append(json.loads(file.read_text()))
    return cases


if __name__ == "__main__":
    main()
