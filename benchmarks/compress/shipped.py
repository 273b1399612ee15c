"""What a rule ships of a model that it was asked about: how it is told, kept and timed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.compress.rivals import Outcome
from weigh.data.cache import replacing
from weigh.model.session import no_collection
from weigh.scale.ratio import median_ratio

FLOOR = 0.02
"""By how much accuracy may fall; nats a token that may be lost."""
ROUNDS = 40
"""Rounds in which what was chosen and the float model take turns."""


@dataclass(frozen=True, slots=True)
class Judged(Outcome):
    """An outcome on a model.

    Attributes:
        latency: the median of ratios to the float model of the same library, taken in turns; None where the draw was
            not timed.
    """

    latency: float | None


def key(name: str, seed: int) -> str:
    """Of a draw of a model."""
    return f"{name}-{FLOOR:g}-{seed}"


def timed(seed: int) -> bool:
    """Whether what is chosen on a draw is timed: on the first alone."""
    return seed == 0


@contextmanager
def own_cache(folder: Path) -> Iterator[None]:
    """Artefacts are made anew, and go with the folder: else a draw would find, and not pay for, what another made."""
    before = os.environ.get("WEIGH_CACHE")
    os.environ["WEIGH_CACHE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["WEIGH_CACHE"]
        else:
            os.environ["WEIGH_CACHE"] = before


def remembered(path: Path, compute: Callable[[], NDArray[np.float64]]) -> NDArray[np.float64]:
    """An array that is on disk, or computed and put there: what is true of a model is the same for every draw."""
    if not path.exists():
        found = compute()
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, found)
    return np.asarray(np.load(path))


def in_turns(sides: Sequence[Callable[[int], float]], rounds: int = ROUNDS) -> float:
    """The median ratio of the second side to the first, which each take a turn in a round, in an order drawn anew.

    Args:
        sides: given a number that both share in a round, the milliseconds of a turn.
    """
    random, times = np.random.default_rng(0), np.empty((rounds, 2))
    with no_collection():
        for place in range(rounds):
            shared = int(random.integers(1 << 30))
            for side in random.permutation(2).tolist():
                times[place, side] = sides[side](shared)
    return median_ratio(times[:, 1], times[:, 0], 0.05).estimate
