"""What an engine adds to a block, and what a second worker of a Ray cluster takes off a race.

``make bench-cluster [ARGS="--rounds 15 --blocks 40 --loops 3000000"]`` starts Ray on this machine.

- overhead: blocks of two options that measure next to nothing, in rounds that take the engines in turn: wall-clock time
  a block less the time that its trials say they took. On Ray with one worker, which is told the next block as a race
  tells it.
- speed-up: races of two options whose trials burn processor time, with one worker and with two in turn: time from the
  first block to the last, the ratio of each pair, and its median.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks._ask import at_least
from benchmarks._result import report, table
from benchmarks._spin import Spin, Spins, SpinTask
from weigh import catalog, decide
from weigh.choice import Block
from weigh.decision import OptionLock
from weigh.engine import Engine
from weigh.engine.inline import InlineEngine
from weigh.engine.local import LocalEngine
from weigh.engine.ray import RayEngine
from weigh.flow import Event

CHOICE = "benchmarks._spin:Spins"


def overheads(engines: Sequence[Engine], rounds: int, blocks: int) -> list[list[float]]:
    """Milliseconds a block beyond its trials, by engine and round; the first, which starts processes, is left out."""
    locked = [catalog.lock_option(Spins(), option) for option in (Spin(), Spin(stream=1))]
    for engine in engines:
        engine.open(CHOICE, SpinTask().model_dump(mode="json"), 0)
    found: list[list[float]] = [[] for _ in engines]
    for number in range(rounds + 1):
        order = list(zip(engines, found, strict=True))
        for engine, times in order if number % 2 else reversed(order):
            taken = _round(engine, locked, number * blocks, blocks)
            if number:
                times.append(taken)
    return found


def _round(engine: Engine, locked: list[OptionLock], start: int, blocks: int) -> float:
    trials, begun = 0.0, time.perf_counter()
    for index in range(start, start + blocks):
        if engine.ahead > 1:
            coming = range(index, min(index + engine.ahead, start + blocks))
            engine.expect([(Block(index=each, seed=each), locked) for each in coming])
        trials += sum(trial.seconds for trial in engine.run(Block(index=index, seed=index), locked))
    return (time.perf_counter() - begun - trials) / blocks * 1e3


def race(workers: int, blocks: int, loops: int) -> float:
    """Seconds a block of one race, from its first block to its last."""
    ends: list[float] = []

    def look(event: Event) -> None:
        if event.kind == "block":
            ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        decide(
            CHOICE, SpinTask(blocks=blocks, loops=loops), options=["benchmarks._spin:Spin:stream=1"], epsilon=0.0,
            ledger=Path(folder) / "ledger.db", records=None, engine=RayEngine(workers=workers), watch=look,
        )  # fmt: skip
    return (ends[-1] - ends[4]) / (len(ends) - 5)


def main() -> None:
    """Measure, print, write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument(
        "--rounds", type=at_least(1), default=15, help="rounds of each engine; half as many pairs of races"
    )
    arguments.add_argument("--blocks", type=at_least(6), default=40, help="blocks a round, and a race")
    arguments.add_argument(
        "--loops", type=at_least(1), default=3_000_000, help="turns of a loop in Python a trial of a race"
    )
    asked = arguments.parse_args()
    import ray

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    names = ("inline", "local", "Ray, one worker")
    with InlineEngine() as inline, LocalEngine() as local, RayEngine(workers=1) as spread:
        times = overheads((inline, local, spread), asked.rounds, asked.blocks)
    pairs = [[race(workers, asked.blocks, asked.loops) for workers in (1, 2)] for _ in range(max(asked.rounds // 2, 1))]
    ray.shutdown()
    table(
        (
            f"overhead a block of two options, {asked.rounds} rounds of {asked.blocks} blocks",
            "median, ms",
            "least",
            "most",
        ),
        [(name, median(each), min(each), max(each)) for name, each in zip(names, times, strict=True)],
    )
    gains = [one / two for one, two in pairs]
    rows = [(f"{place} worker(s)", median(each) * 1e3) for place, each in enumerate(zip(*pairs, strict=True), 1)]
    table((f"races of {asked.blocks} blocks that burn processor time, {len(pairs)} pairs", "median a block, ms"), rows)
    print(f"speed-up from 1 to 2 workers: median {median(gains):.2f}, {min(gains):.2f} to {max(gains):.2f}")
    figures = {"overhead_inline_ms": median(times[0]), "overhead_local_ms": median(times[1])}
    figures |= {"overhead_ray_ms": median(times[2]), "speedup_2_workers": median(gains)}
    report("cluster", {**figures, "rounds": asked.rounds, "blocks": asked.blocks, "loops": asked.loops})


if __name__ == "__main__":
    main()
