"""Which candidates are on the front? Resamples of a fully evaluated table, and how often a claim on one is wrong."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

import weigh.scale
from benchmarks._result import RESULTS
from benchmarks.compress import tables
from benchmarks.compress.tables import FRESH, Truth
from weigh.data.cache import replacing
from weigh.scale.front import Front
from weigh.scale.gauge import Gauge
from weigh.scale.pareto import pareto_front

Against: TypeAlias = Literal["size", "latency"]
Array = NDArray[np.float64]

FOLDER = RESULTS / ".compress"
ALPHA = 0.05
EPSILON = {"accuracy": 0.005, "latency": 0.05}
"""What does not matter: half a percentage point, and a twentieth of the time."""
BLOCKS = 100
"""Parts in which the rows and the rounds of a table are measured."""
BUDGET = 1 / 3
"""Share of the full evaluation that a resample may measure at most."""
LATER = 1.25
"""By how many times blocks grow until the front is judged again."""
TINY = 1e-9

QUESTIONS: tuple[tuple[str, Against], ...] = (
    ("flights", "size"),
    ("flights", "latency"),
    ("family:fashion-wide", "size"),
    ("family:census-deep", "size"),
)


@dataclass(frozen=True, slots=True)
class Play:
    """What came of one resample.

    Attributes:
        false_dominance: one that nothing dominates in truth was called dominated.
        covered: every interval held its truth.
        false_front: one that another beats by more than epsilon was said to be on the front.
        measured: share of the full evaluation.
        dominated, front, open: how many candidates ended there.
        point: with estimates alone, from the same share of rows of every candidate: one of the front was called
            dominated; and how many were.
    """

    false_dominance: bool
    covered: bool
    false_front: bool
    measured: float
    dominated: int
    front: int
    open: int
    point: bool
    point_dominated: int


class Asked:
    """One table and one pair of measures: what is true, and a resample played."""

    def __init__(self, truth: Truth, against: Against) -> None:
        self.truth, self.against = truth, against
        self.right = np.ascontiguousarray(truth.right.T)
        self.times = np.ascontiguousarray(truth.times.T)

    @cached_property
    def dominated(self) -> NDArray[np.bool_]:
        """Which candidates another one dominates in truth, shape (options,)."""
        as_good, better = self._as_good(0.0, 1.0), self._better()
        return np.asarray((as_good & better).any(axis=0))

    @cached_property
    def beaten(self) -> NDArray[np.bool_]:
        """Which candidates another one beats by more than epsilon."""
        slack = 1.0 - EPSILON["latency"] if self.against == "latency" else 1.0
        clear = self._as_good(EPSILON["accuracy"] + TINY, slack)
        np.fill_diagonal(clear, False)
        return np.asarray(clear.any(axis=0))

    def _as_good(self, accuracy: float, factor: float) -> NDArray[np.bool_]:
        """Whether row is as good as column: in accuracy by so much more, in cost by this factor."""
        right, cost = self.truth.accuracy, self._costs()
        return (right[:, None] >= right[None, :] + accuracy) & (cost <= factor + TINY)

    def _better(self) -> NDArray[np.bool_]:
        right, cost = self.truth.accuracy, self._costs()
        return (right[:, None] > right[None, :] + TINY) | (cost < 1.0 - TINY)

    def _costs(self) -> Array:
        """Cost of row against column."""
        size = self.truth.size
        return self.truth.ratios if self.against == "latency" else size[:, None] / size[None, :]

    def gauges(self) -> tuple[Gauge, ...]:
        cost = Gauge("latency", "time", "lower") if self.against == "latency" else Gauge("size", "exact", "lower")
        return cost, Gauge("accuracy", "mean", "higher")

    def play(self, seed: int) -> Play:
        """One resample: new rows and runs of rounds out of the table, with replacement."""
        options, draw = self.truth.options, _Draw(self, seed)
        room = int(BUDGET * BLOCKS * len(options))
        front = Front(options, options[0], self.gauges(), ALPHA, self._epsilon(), blocks=BLOCKS, room=room)
        front.know({name: {"size": size} for name, size in zip(options, self.truth.size.tolist(), strict=True)})
        block, look = 0, 1.0
        while wanted := front.wanted():
            front.add(block, draw.block(block, wanted))
            block += 1
            if block >= look:
                front.judge()
                look = max(look * LATER, block + 1.0)
        front.judge()
        return self._scored(front, draw)

    def _epsilon(self) -> dict[str, float]:
        return {name: value for name, value in EPSILON.items() if name in ("accuracy", self.against)}

    def _scored(self, front: Front, draw: _Draw) -> Play:
        places = list(front.places().values())
        said, best = np.array([place == "dominated" for place in places]), np.array([p == "front" for p in places])
        point = self._point(draw)
        return Play(
            false_dominance=bool((said & ~self.dominated).any()),
            covered=self._covered(front),
            false_front=bool((best & self.beaten).any()),
            measured=front.measurements / (BLOCKS * len(places)),
            dominated=int(said.sum()),
            front=int(best.sum()),
            open=places.count("open"),
            point=bool((point & ~self.dominated).any()),
            point_dominated=int(point.sum()),
        )

    def _covered(self, front: Front) -> bool:
        """Every level of accuracy, and every difference and ratio to the baseline."""
        options, right = self.truth.options, self.truth.accuracy
        for place, name in enumerate(options):
            held = [
                (front.level(name, "accuracy"), right[place]),
                (front.versus(name, "accuracy"), right[place] - right[0]),
            ]
            if self.against == "latency":
                held.append((front.versus(name, "latency"), self.truth.ratios[place, 0]))
            if any(not one.low - TINY <= value <= one.high + TINY for one, value in held):
                return False
        return True

    def _point(self, draw: _Draw) -> NDArray[np.bool_]:
        """Whom estimates call dominated, from the first third of the blocks of every candidate."""
        right, times = draw.until(round(BUDGET * BLOCKS))
        cost = np.median(times / times[0], axis=1) if self.against == "latency" else self.truth.size
        points = {str(i): (float(c), float(a)) for i, (c, a) in enumerate(zip(cost, right.mean(axis=1), strict=True))}
        best = pareto_front(points, ("lower", "higher"))
        return np.array([str(i) not in best for i in range(len(points))])


class _Draw:
    """The rows, and the runs of rounds, of each block of one resample."""

    def __init__(self, asked: Asked, seed: int) -> None:
        random = np.random.default_rng(seed)
        self._asked, rows = asked, asked.right.shape[1]
        self._rows = random.integers(0, rows, (BLOCKS, rows // BLOCKS))
        runs = asked.times.shape[1] // FRESH
        self._runs = random.integers(0, max(runs, 1), BLOCKS)
        self._places = {name: place for place, name in enumerate(asked.truth.options)}

    def block(self, block: int, options: Sequence[str]) -> dict[str, dict[str, Array]]:
        found = {}
        for name in options:
            place = self._places[name]
            found[name] = {"accuracy": self._asked.right[place, self._rows[block]]}
            if self._asked.against == "latency":
                found[name]["latency"] = self._asked.times[place, self._rounds(block)]
        return found

    def _rounds(self, block: int) -> slice:
        return slice(self._runs[block] * FRESH, (self._runs[block] + 1) * FRESH)

    def until(self, blocks: int) -> tuple[Array, Array]:
        """Everything of the first blocks: answers and times, shape (options, ...)."""
        right = self._asked.right[:, self._rows[:blocks].ravel()]
        return right, np.concatenate([self._asked.times[:, self._rounds(b)] for b in range(blocks)], axis=1)


def played(
    name: str, against: Against, resamples: int, jobs: int, end: float = float("inf"), folder: Path = FOLDER
) -> list[Play]:
    """All resamples of a question; what is kept is not played again. Stops at `end`, by the monotonic clock."""
    kept = folder / "fronts" / f"{name.replace(':', '-')}-{against}-{_digest(name)[:16]}.json"
    plays = [Play(**row) for row in json.loads(kept.read_text())] if kept.exists() else []
    with ProcessPoolExecutor(jobs) as pool:
        while len(plays) < resamples and time.monotonic() < end:
            seeds = range(len(plays), min(len(plays) + 25 * jobs, resamples))
            plays += pool.map(_play, [name] * len(seeds), [against] * len(seeds), seeds, chunksize=5)
            _keep(kept, json.dumps([asdict(play) for play in plays]))
    return plays[:resamples]


def _keep(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        (FOLDER / ".gitignore").parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / ".gitignore").write_text("*\n")
        temporary.write_text(text)


@lru_cache(maxsize=1)
def _asked(name: str, against: Against) -> Asked:
    return Asked(tables.load(name), against)


def _play(name: str, against: Against, seed: int) -> Play:
    return _asked(name, against).play(seed)


@lru_cache(maxsize=8)
def _digest(name: str) -> str:
    """Of what a play rests on: this file, the scale, and the table."""
    data = hashlib.sha256(Path(__file__).read_bytes())
    for file in sorted(Path(weigh.scale.__path__[0]).glob("*.py")):
        data.update(file.read_bytes())
    truth = tables.load(name)
    for part in (truth.size, truth.right, truth.times):
        data.update(np.ascontiguousarray(part))
    return data.hexdigest()


def figures(found: dict[tuple[str, Against], list[Play]]) -> dict[str, Any]:
    """The worst question for errors, the mean of all for the rest; then a row a question."""
    rows = dict(_rows(found))
    told = list(rows.values())
    return {
        "false_dominance": max(row["false_dominance"] for row in told),
        "coverage": min(row["coverage"] for row in told),
        "measured_fraction": max(row["measured_fraction"] for row in told),
        "false_front": max(row["false_front"] for row in told),
        "point_false_dominance": float(np.mean([row["point_false_dominance"] for row in told])),
        **{
            f"{name}_mean": float(np.mean([row[name] for row in told]))
            for name in ("measured_fraction", "dominated_found", "settled", "point_dominated_found")
        },
        "alpha": ALPHA,
        "epsilon": EPSILON,
        "questions": rows,
    }


def _rows(found: dict[tuple[str, Against], list[Play]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for (name, against), plays in found.items():
        asked = _asked(name, against)
        count, worse = len(asked.truth.options), max(int(asked.dominated.sum()), 1)
        yield (
            f"{name}, accuracy against {against}",
            {
                "candidates": count,
                "on_front": count - int(asked.dominated.sum()),
                "resamples": len(plays),
                "false_dominance": _share(play.false_dominance for play in plays),
                "coverage": _share(play.covered for play in plays),
                "measured_fraction": round(float(np.mean([play.measured for play in plays])), 4),
                "measured_fraction_most": round(max(play.measured for play in plays), 4),
                "false_front": _share(play.false_front for play in plays),
                "dominated_found": round(float(np.mean([play.dominated for play in plays])) / worse, 4),
                "settled": round(1 - float(np.mean([play.open for play in plays])) / count, 4),
                "point_false_dominance": _share(play.point for play in plays),
                "point_dominated_found": round(float(np.mean([play.point_dominated for play in plays])) / worse, 4),
            },
        )


def _share(of: Iterator[bool]) -> float:
    return float(np.mean(list(of)))
