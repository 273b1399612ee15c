"""A planted 2 % of latency, and none, on a machine whose cores are busy with other work.

``make bench-latency [ARGS="--runs 100 --again"]``: in each run two passes of a small network are timed as duets, side
by side in rounds, while a process a core does something else (matrix products, memory copies, Python, bursts), and a
race judges them after each block of rounds, until it is settled or 60 s are over. In planted runs one does 51 steps and
the other 50 of the very same kind; in A/A runs both do 50. A run is a process of its own. What was run is kept, so that
a killed benchmark goes on; `--again` forgets it.

How a round is timed decides more than how it is judged. What is timed is wall time, which is what users wait. Each turn
copies weights and inputs anew, since where buffers happen to lie moves times by up to half a percent for as long as
they live; it warms them up, and takes the median of three passes, since every hundredth is suspended for 4 to 8 ms. The
order within a round is drawn. Nothing is pinned, and the garbage collector sleeps.

Targets: the difference is found in at least 95 of 100 runs, none is called in at least 99 of 100 A/A runs. The second
one is a promise of alpha = 1 %, and that is what both are judged at.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import multiprocessing
import os
import shutil
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import weigh.scale
from benchmarks._ask import at_least
from benchmarks._load import KINDS, loaded
from benchmarks._result import RESULTS, report, table
from weigh.scale.gauge import Gauge
from weigh.scale.interval import Interval
from weigh.scale.race import Race
from weigh.scale.ratio import median_ratio, paired_ratios

ALPHA, EPSILON = 0.01, 0.005
SECONDS = 60.0
STEPS = {"planted": (50, 51), "aa": (50, 50)}
PASSES, ROUNDS = 3, 25
FOLDER = RESULTS / ".latency"
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one run: `faster`, `slower` (the option that alone was left), `equal` (certified) or `open`."""

    kind: str
    seed: int
    outcome: str
    seconds: float
    rounds: int
    ratio: float
    cpu_share: float
    load: str


class Duet:
    """Two passes of a two-layer network of 64 units on 16 rows, of so many steps each; about 0.3 ms."""

    def __init__(self, steps: Sequence[int], seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        draw = np.random.default_rng(0)
        shapes = (64, 64), (64, 64), (16, 64)
        self._arrays = [draw.standard_normal(shape, dtype=np.float32) / 8 for shape in shapes]
        self._steps = tuple(steps)

    def rounds(self, count: int) -> NDArray[np.float64]:
        """Milliseconds of both in each round, shape (2, count)."""
        taken = np.empty((2, count))
        was = gc.isenabled()
        gc.disable()
        try:
            for i in range(count):
                for side in self._rng.permutation(2).tolist():
                    taken[side, i] = self._turn(self._steps[side])
        finally:
            if was:
                gc.enable()
        return taken

    def _turn(self, steps: int) -> float:
        arrays = [np.array(array) for array in self._arrays]
        _forward(arrays, 2)
        clock, passes = time.perf_counter_ns, []
        for _ in range(PASSES):
            start = clock()
            _forward(arrays, steps)
            passes.append(clock() - start)
        return statistics.median(passes) / 1e6


def _forward(arrays: Sequence[Array], steps: int) -> Array:
    first, second, rows = arrays
    out = rows
    for _ in range(steps):
        out = np.maximum(rows @ first, 0) @ second
    return out


def run(kind: str, seed: int, seconds: float = SECONDS, busy: int | None = None) -> Run:
    """One race under load, in this process; `busy` processes beside it, one a core unless another number is given."""
    loads = _loads(seed, (os.cpu_count() or 1) if busy is None else busy)
    with loaded(loads):
        time.sleep(0.5)
        duet = Duet(STEPS[kind], seed)
        duet.rounds(ROUNDS)
        race, rounds, start, cpu = _race(), 0, time.perf_counter(), time.process_time()
        taken = np.empty((2, 0))
        while time.perf_counter() - start < seconds and not race.settled():
            taken = np.concatenate([taken, block := duet.rounds(ROUNDS)], axis=1)
            race.add(rounds, {"left": {"latency": block[0]}, "right": {"latency": block[1]}})
            race.judge(rounds)
            rounds += 1
        spent, share = time.perf_counter() - start, (time.process_time() - cpu) / (time.perf_counter() - start)
    ratio = float(np.median(paired_ratios(taken[1], taken[0])))
    return Run(kind, seed, _outcome(race), spent, taken.shape[1], ratio, share, "+".join(loads))


def _loads(seed: int, count: int) -> list[str]:
    """Kinds of work, each run another mix."""
    return np.random.default_rng(seed).choice(KINDS, count, replace=count > len(KINDS)).tolist()


def _race() -> Race:
    return Race(("left", "right"), "left", [Gauge("latency", "time", "lower")], (), "latency", ALPHA, EPSILON)


def _outcome(race: Race) -> str:
    if len(race.live()) == 1:
        return "faster" if race.live() == ["left"] else "slower"
    return "equal" if race.settled() else "open"


def planted(rounds: int) -> Interval:
    """How many times slower the planted one is, while nothing is started beside it."""
    duet = Duet(STEPS["planted"], 0)
    duet.rounds(ROUNDS)
    left, right = duet.rounds(rounds)
    return median_ratio(right, left, 0.05)


class Kept:
    """Runs on disk, one a line; those of another version of this file or of the scale do not count."""

    def __init__(self, folder: Path = FOLDER) -> None:
        files = [Path(__file__), *sorted(Path(weigh.scale.__path__[0]).glob("*.py"))]
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
        self.path = folder / f"{digest[:16]}.jsonl"

    def load(self) -> dict[tuple[str, int], Run]:
        """What is there, by kind and seed; a line that was cut off is measured again."""
        lines = self.path.read_text().splitlines(keepends=True) if self.path.exists() else []
        runs = [Run(**json.loads(line)) for line in lines if line.endswith("}\n")]
        return {(one.kind, one.seed): one for one in runs}

    def add(self, one: Run) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        (self.path.parent / ".gitignore").write_text("*\n")
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(one)) + "\n")


def collect(runs: int, kept: Kept) -> list[Run]:
    """All runs of both kinds: what is kept, and the rest one after another, each in a fresh process."""
    known = kept.load()
    wanted = [(kind, seed) for seed in range(runs) for kind in STEPS]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
        for kind, seed in wanted:
            if (kind, seed) not in known:
                known[kind, seed] = one = pool.submit(run, kind, seed).result()
                kept.add(one)
                print(f"{kind} {seed}: {one.outcome} after {one.seconds:.1f} s, {one.rounds} rounds", flush=True)
    return [known[key] for key in wanted]


def figures(runs: Sequence[Run]) -> dict[str, object]:
    """What is claimed of the runs: rates with exact 95 % bounds (Clopper and Pearson), and how long they took."""
    sides = {kind: [one for one in runs if one.kind == kind] for kind in STEPS}
    found = [one for one in sides["planted"] if one.outcome == "faster"]
    called = [one for one in sides["aa"] if one.outcome in ("faster", "slower")]
    told: dict[str, object] = {"alpha": ALPHA, "epsilon": EPSILON, "runs": len(sides["planted"])}
    for name, part, whole in (
        ("latency_2pct_found", found, sides["planted"]),
        ("latency_aa_false", called, sides["aa"]),
    ):
        low, high = exact_bounds(len(part), len(whole))
        told |= {name: len(part) / len(whole), f"{name}_low": low, f"{name}_high": high}
    told["latency_2pct_wrong"] = sum(one.outcome == "slower" for one in sides["planted"]) / len(sides["planted"])
    told["latency_aa_certified"] = sum(one.outcome == "equal" for one in sides["aa"]) / len(sides["aa"])
    for name, part in (("find", found), ("certify_aa", sides["aa"])):
        spent = np.array([one.seconds for one in part]) if part else np.array([np.nan])
        told |= {f"seconds_to_{name}_median": float(np.median(spent)), f"seconds_to_{name}_p95": _p95(spent)}
    told["rounds_to_find_median"] = float(np.median([one.rounds for one in found])) if found else None
    told["cpu_share_median"] = float(np.median([one.cpu_share for one in runs]))
    return told


def _p95(values: NDArray[np.float64]) -> float:
    return float(np.quantile(values, 0.95, method="inverted_cdf"))


def exact_bounds(count: int, n: int, alpha: float = 0.05) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share: `count` of `n`."""
    from scipy.stats import beta

    low = float(beta.ppf(alpha / 2, count, n - count + 1)) if count else 0.0
    high = float(beta.ppf(1 - alpha / 2, count + 1, n - count)) if count < n else 1.0
    return low, high


def main() -> None:
    """Run, print, write."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=at_least(1), default=100, help="runs of each kind")
    arguments.add_argument(
        "--rounds", type=at_least(1), default=4000, help="rounds that check the planted ratio, without load"
    )
    arguments.add_argument("--again", action="store_true", help="forget the runs that are kept")
    asked = arguments.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if asked.again:
        shutil.rmtree(FOLDER, ignore_errors=True)
    runs = collect(asked.runs, Kept())
    truth, told = planted(asked.rounds), figures(runs)
    told |= {"planted_ratio": truth.estimate, "planted_ratio_low": truth.low, "planted_ratio_high": truth.high}
    rows = [
        (name, counts["faster"], counts["slower"], counts["equal"], counts["open"])
        for name, counts in ((kind, _counted(runs, kind)) for kind in STEPS)
    ]
    table(("runs", "50 steps called faster", "called slower", "certified equal", "open after 60 s"), rows)
    report("latency", told)


def _counted(runs: Sequence[Run], kind: str) -> dict[str, int]:
    outcomes = [one.outcome for one in runs if one.kind == kind]
    return {name: outcomes.count(name) for name in ("faster", "slower", "equal", "open")}


if __name__ == "__main__":
    main()
