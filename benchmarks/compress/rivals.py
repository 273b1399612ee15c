"""What weigh and its peers choose under a floor, and what is true of it: the same model, rows, floor and machine."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from benchmarks.compress import material
from benchmarks.compress.fronts import FOLDER
from benchmarks.compress.material import Material
from benchmarks.compress.runs import Net
from benchmarks.compress.tables import WHOLE, converted
from weigh.choice import UsageError
from weigh.data.cache import cache_folder

TASKS = ("flights", "fashion", "digits")
FLOORS = (0.02, 0.01)
"""By how much accuracy may fall."""
ROWS, CALIBRATION = 1_000, 200
"""Rows of a draw that judge, and others that calibrate."""
WORLD = 20_000
"""Rows that a draw comes from, at most, and that say what is true."""
ALPHA = 0.05
TOGETHER = 4
"""Draws that a process is asked about: an import of a peer takes seconds, and is not counted."""
SLACK = 0.02
"""Sizes this close, as a share of the baseline's, are as good as equal to weigh."""
PEERS = {"inc": "inc.py", "olive": "olive_search.py"}
HERE = Path(__file__).parent / "peers"


@dataclass(frozen=True, slots=True)
class Draw:
    """One question on one draw of the rows."""

    task: str
    floor: float
    seed: int

    @property
    def key(self) -> str:
        return f"{self.task}-{self.floor:g}-{self.seed}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rule chose.

    Attributes:
        key, rule: of which draw, by whom.
        what: the option, in the rule's own words.
        certified: the rule stands behind the floor; False where it kept the baseline without a claim.
        drop: what the choice loses of the accuracy on all rows that there are.
        violated: it loses more than the floor.
        size: kilobytes, as a share of the baseline's.
        rows: answers of models that were looked at, all candidates and the baseline together.
        cpu_seconds: until the answer, without importing.
        digest: of the file.
    """

    key: str
    rule: str
    what: str
    certified: bool
    drop: float
    violated: bool
    size: float
    rows: int
    cpu_seconds: float
    digest: str


def collect(count: int, jobs: int = 1, tasks: Sequence[str] = TASKS, end: float = math.inf) -> list[Outcome]:
    """All outcomes: what is kept, and the rest; stops at `end`, by the monotonic clock, with what there is."""
    known, todo = kept(), []
    for task in tasks:
        material.load(task)
        for rule in PEERS:
            environment(rule)
    for start in range(0, count, TOGETHER):
        seeds = range(start, min(start + TOGETHER, count))
        for task, rule in product(tasks, ("weigh", *PEERS)):
            some = [Draw(task, floor, seed) for floor, seed in product(FLOORS, seeds)]
            todo.append((rule, [draw for draw in some if (draw.key, rule) not in known.known]))
    todo = [(rule, some) for rule, some in todo if some]
    with ProcessPoolExecutor(jobs) as pool:
        for start in range(0, len(todo), jobs):
            if time.monotonic() > end:
                break
            for outcomes in pool.map(_asked, *zip(*todo[start : start + jobs], strict=True)):
                for one in outcomes:
                    known.add(one)
    wanted = {Draw(task, floor, seed).key for task, floor, seed in product(tasks, FLOORS, range(count))}
    return [one for one in known.known.values() if one.key in wanted]


def _asked(rule: str, some: Sequence[Draw]) -> list[Outcome]:
    return list(played(rule, _subject(some[0].task), some))


@lru_cache(maxsize=1)
def _subject(task: str) -> Material:
    return material.load(task)


def code() -> list[Path]:
    """The files on which outcomes depend."""
    wanted = [HERE / f"requirements-{rule}.txt" for rule in PEERS]
    return [Path(__file__), HERE / "_asked.py", *(HERE / script for script in PEERS.values()), *wanted]


Kind = TypeVar("Kind", bound=Outcome)


class Kept(Generic[Kind]):
    """Outcomes on disk, one a line; those of other code do not count.

    Args:
        folder: where they lie.
        files: the code that they depend on.
        kind: what an outcome is.
    """

    def __init__(self, folder: Path, files: Sequence[Path], kind: type[Kind]) -> None:
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
        self.path = folder / f"{digest[:16]}.jsonl"
        lines = self.path.read_text().splitlines(keepends=True) if self.path.exists() else []
        rows = [kind(**json.loads(line)) for line in lines if line.endswith("}\n")]
        self.known: dict[tuple[str, str], Kind] = {(one.key, one.rule): one for one in rows}

    def add(self, one: Kind) -> None:
        self.known[one.key, one.rule] = one
        self.path.parent.mkdir(parents=True, exist_ok=True)
        (self.path.parent / ".gitignore").write_text("*\n")
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(one)) + "\n")


def kept(folder: Path = FOLDER) -> Kept[Outcome]:
    """Those of this file's questions."""
    return Kept(folder / "rivals", code(), Outcome)


def played(rule: str, subject: Material, some: Sequence[Draw]) -> Iterator[Outcome]:
    """Ask a rule a few questions."""
    judge = Judge(subject)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for draw in some:
            written(subject, draw, folder)
        if rule == "weigh":
            for draw in some:
                yield judge.outcome(rule, draw, **by_weigh(subject, draw, folder))
        else:
            for draw, told in zip(some, by_peer(rule, subject, some, folder), strict=True):
                yield judge.outcome(rule, draw, **told)


def written(subject: Material, draw: Draw, folder: Path) -> None:
    """The rows of a draw: without replacement, the same for every floor."""
    random = np.random.default_rng([draw.seed, 7])
    judged = random.permutation(min(len(subject.y), WORLD))[:ROWS]
    calibrating = random.permutation(len(subject.pool))[:CALIBRATION]
    np.savez(folder / f"{draw.key}-rows.npz", X=subject.x[judged], y=subject.y[judged])
    np.savez(folder / f"{draw.key}-calibration.npz", X=subject.pool[calibrating])


class Judge:
    """What is true of a file: it answers every row that there is."""

    def __init__(self, subject: Material) -> None:
        self._subject, self._known = subject, dict[str, float]()
        self._base = subject.models["float32"]
        self._right = self._accuracy(self._base)

    def _accuracy(self, path: Path) -> float:
        digest = _digest(path)
        if digest not in self._known:
            right = Net(path, self._subject).right(self._subject.x[:WORLD], self._subject.y[:WORLD])
            self._known[digest] = float(right.mean())
        return self._known[digest]

    def outcome(
        self, rule: str, draw: Draw, chosen: Path | None, what: str, certified: bool, rows: int, cpu_seconds: float
    ) -> Outcome:
        path = chosen or self._base
        drop = self._right - self._accuracy(path)
        return Outcome(
            key=draw.key, rule=rule, what=what, certified=certified, drop=round(drop, 6),
            violated=drop > draw.floor + 1e-9, size=path.stat().st_size / self._base.stat().st_size, rows=rows,
            cpu_seconds=cpu_seconds, digest=_digest(path),
        )  # fmt: skip


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def by_weigh(subject: Material, draw: Draw, folder: Path) -> dict[str, Any]:
    """`weigh.decide` on these rows: the smallest file that keeps to the floor; nothing is timed."""
    base = subject.models["float32"]
    task = {
        "model": base, "data": folder / f"{draw.key}-rows.npz", "calibration": folder / f"{draw.key}-calibration.npz",
        "calibration_rows": CALIBRATION, "held_back": 0.0, "rounds": 100, "runs": 1, "warmup": 0, **subject.answer,
    }  # fmt: skip
    option, what, rows, spent = decided(
        task, WHOLE[1:], f"accuracy >= baseline - {draw.floor}", base.stat().st_size / 1e6, folder / f"{draw.key}.db",
        "accuracy",
    )  # fmt: skip
    return {
        "chosen": _made(subject, option, draw, folder), "what": what, "certified": option != "none", "rows": rows,
        "cpu_seconds": spent,
    }  # fmt: skip


def decided(
    task: Mapping[str, Any], options: Sequence[str], require: str, megabytes: float, ledger: Path, measure: str
) -> tuple[str, str, int, float]:
    """`weigh.decide("compress/quantize")` for the smallest model under a floor, in this process.

    Args:
        megabytes: of the baseline; `SLACK` of it does not matter.
        measure: whose values tell how many rows were looked at.

    Returns: the option, where nothing is certified the leading one; the answer; rows looked at; CPU-seconds.
    """
    from weigh import Ledger, decide
    from weigh.engine.inline import InlineEngine

    before = sum(os.times()[:4])
    made = decide(
        "compress/quantize", task, options=list(options), require=require, objective="size",
        epsilon=SLACK * megabytes, alpha=ALPHA, ledger=ledger, records=None, engine=InlineEngine(),
    )  # fmt: skip
    spent = sum(os.times()[:4]) - before
    with Ledger(ledger) as book:
        evidence = [row for lock in book.locks() for row in book.evidence(lock.digest())]
    rows = sum(len(of) for row in evidence if isinstance(of := row.values.get(measure), list))
    chosen = made.chosen or next((s.option for s in made.standings if s.outcome == "leading"), "none")
    return chosen, f"{made.verdict}: {chosen}", rows, spent


def _made(subject: Material, option: str, draw: Draw, folder: Path) -> Path | None:
    if option == "none":
        return None
    with np.load(folder / f"{draw.key}-calibration.npz") as rows:
        return converted(subject, subject.models["float32"], option, rows["X"], folder / f"{draw.key}-weigh.onnx")


def by_peer(rule: str, subject: Material, some: Sequence[Draw], folder: Path) -> list[dict[str, Any]]:
    """A peer in a process and an environment of its own, asked all of them one after another."""
    lines = [
        {
            "key": draw.key, "model": str(subject.models["float32"]), "floor": draw.floor,
            "threshold": subject.answer.get("threshold"), "folder": str(folder / f"{draw.key}-{rule}"),
            "data": str(folder / f"{draw.key}-rows.npz"), "calibration": str(folder / f"{draw.key}-calibration.npz"),
        }
        for draw in some
    ]  # fmt: skip
    return [
        {
            "chosen": Path(one["chosen"]) if one["chosen"] else None, "what": one["what"][:100],
            "certified": bool(one["chosen"]), "rows": one["rows"], "cpu_seconds": one["cpu_seconds"],
        }
        for one in told_by(rule, PEERS[rule], lines, folder)
    ]  # fmt: skip


def told_by(rule: str, script: str, lines: Sequence[Mapping[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """What a script of peers/ answers to some jobs, in a process and in the environment of a rule.

    Raises:
        UsageError: it failed; the text is the end of what it said.
    """
    python, jobs, answers = environment(rule), folder / f"{rule}-jobs.jsonl", folder / f"{rule}-answers.jsonl"
    jobs.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = subprocess.run(
        [str(python), str(HERE / script), str(jobs), str(answers)], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    if done.returncode:
        raise UsageError(f"{script} ended with status {done.returncode}: {done.stderr.strip()[-1500:]}")
    return [json.loads(line) for line in answers.read_text().splitlines()]


def environment(rule: str) -> Path:
    """The interpreter of a peer's own environment; made, which takes minutes, where it is not there.

    Raises:
        UsageError: its packages cannot be installed.
    """
    wanted = HERE / f"requirements-{rule}.txt"
    folder = cache_folder() / "compress" / "peers" / f"{rule}-{_digest(wanted)[:12]}"
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        print(f"setting up {rule} in {folder} (minutes) ...", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True, symlinks=True)
        done = subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "-r", str(wanted)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            why = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise UsageError(f"{rule} could not be installed for Python {sys.version.split()[0]}: {why}")
        (folder / "installed").touch()
    return python
