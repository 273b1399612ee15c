"""How quick what each rule chose is: its file and the baseline's, timed in turns, round by round."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.compress import material, rivals
from benchmarks.compress.fronts import FOLDER
from benchmarks.compress.material import Material
from benchmarks.compress.rivals import PEERS, Draw, by_peer, by_weigh, written
from benchmarks.compress.runs import Net
from benchmarks.compress.tables import _turn
from weigh.data.cache import replacing
from weigh.model.session import no_collection
from weigh.scale.interval import Interval
from weigh.scale.ratio import median_ratio

FLOOR, SEED = 0.01, 0
ROUNDS, FRESH = 900, 30
"""Rounds; those after which every session is loaded anew."""


def ratios(task: str, folder: Path = FOLDER) -> dict[str, tuple[float, float, float]]:
    """By rule the ratio and its interval; kept until the rules or this file change."""
    digest = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    kept = folder / "duets" / f"{task}-{rivals.kept(folder).path.stem}-{digest}.json"
    if not kept.exists():
        found = {rule: (one.estimate, one.low, one.high) for rule, one in measured(task).items()}
        with replacing(kept) as temporary:
            (folder / ".gitignore").write_text("*\n")
            temporary.write_text(json.dumps(found))
    told: dict[str, tuple[float, float, float]] = {rule: tuple(of) for rule, of in json.loads(kept.read_text()).items()}
    return told


def measured(task: str) -> dict[str, Interval]:
    """By rule: the time of what it chose on one draw, as a ratio to the baseline's; 1 where it kept the baseline."""
    subject = material.load(task)
    with tempfile.TemporaryDirectory() as name:
        files = dict(_chosen(subject, Draw(task, FLOOR, SEED), Path(name)))
        base = subject.models["float32"]
        times = _timed([partial(Net, path or base, subject) for path in (None, *files.values())], subject.x)
    return {rule: median_ratio(times[:, place], times[:, 0], 0.05) for place, rule in enumerate(files, 1)}


def _chosen(subject: Material, draw: Draw, folder: Path) -> Iterator[tuple[str, Path | None]]:
    written(subject, draw, folder)
    yield "weigh", by_weigh(subject, draw, folder)["chosen"]
    for rule in PEERS:
        yield rule, by_peer(rule, subject, [draw], folder)[0]["chosen"]


def _timed(loads: Sequence[Callable[[], Net]], x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Milliseconds, shape (rounds, files)."""
    random, times = np.random.default_rng(0), np.empty((ROUNDS, len(loads)))
    nets: list[Any] = []
    with no_collection():
        for place in range(ROUNDS):
            if place % FRESH == 0:
                nets = [load() for load in loads]
            row = x[random.integers(len(x))][None]
            for side in random.permutation(len(loads)).tolist():
                times[place, side] = _turn(nets[side], row)
    return times
