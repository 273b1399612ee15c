"""Outcomes that are kept from run to run, so that a killed run goes on and an unchanged one measures nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks._result import RESULTS
from benchmarks.decisions import rulebook
from benchmarks.decisions.family import Family
from benchmarks.decisions.play import Outcome
from weigh.data.cache import replacing

FOLDER = RESULTS / ".decisions"
_SCORING = ("asked.py", "family.py", "play.py", "truth.py")


class Kept:
    """One file a rule, family and setting; its name says what it rests on: the rule's code, the table, the limits.

    Args:
        folder: where; it is made, and git is told to ignore it.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder

    def forget(self) -> None:
        """Remove all outcomes."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def path(self, rule: str, family: Family, setting: int) -> Path:
        """Where the outcomes of one setting are."""
        parts = (rulebook.digest(rule), of_table(family), repr(family.settings[setting]), _scoring())
        digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        return self.folder / Path(rule).stem / family.name / f"{setting}-{digest[:16]}.json"

    def load(self, path: Path) -> list[Outcome]:
        """What is there, in order of seeds; what is damaged is played again."""
        try:
            return [Outcome(**row) for row in json.loads(path.read_text())] if path.exists() else []
        except (ValueError, TypeError):
            return []

    def save(self, path: Path, outcomes: Sequence[Outcome]) -> None:
        """Write all of them at once, or nothing."""
        self.write(path, json.dumps([asdict(outcome) for outcome in outcomes]))

    def write(self, path: Path, text: str) -> None:
        """Write a file of the folder whole."""
        with replacing(path) as temporary:
            (self.folder / ".gitignore").write_text("*\n")
            temporary.write_text(text)


_TABLES: dict[int, tuple[Family, str]] = {}


def of_table(family: Family) -> str:
    """Digest of all that a replication reads of a family."""
    known = _TABLES.get(id(family))
    if known is None or known[0] is not family:
        told = (family.options, family.baseline, family.gauges, family.objective, family.serial, family.block)
        arrays = {f"exact {name}": of for name, of in family.exact.items()}
        arrays |= {f"values {name}": of for name, of in family.values.items()}
        digest = of_arrays([repr(told), *sorted(arrays)], [arrays[name] for name in sorted(arrays)])
        known = _TABLES[id(family)] = (family, digest)
    return known[1]


def of_arrays(texts: Sequence[str], arrays: Sequence[NDArray[np.float64]]) -> str:
    """Digest of texts and arrays, in order."""
    hashed = hashlib.sha256("\n".join(texts).encode())
    for array in arrays:
        hashed.update(repr(array.shape).encode())
        hashed.update(np.ascontiguousarray(array))
    return hashed.hexdigest()


@lru_cache(maxsize=1)
def _scoring() -> str:
    hashed = hashlib.sha256()
    for name in _SCORING:
        hashed.update((Path(__file__).parent / name).read_bytes())
    return hashed.hexdigest()
