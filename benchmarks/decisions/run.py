"""All replications of all rules on all families, over a few processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from benchmarks.decisions import rulebook
from benchmarks.decisions.family import Family
from benchmarks.decisions.kept import FOLDER, Kept
from benchmarks.decisions.play import Outcome, Question, Table

SEEDS = 1_000_000
"""Seeds that each setting has for itself, so that no two settings see the same draws."""


@dataclass(frozen=True, slots=True)
class Job:
    """One setting of one family, played by one rule so many times."""

    rule: str
    family: str
    setting: int
    replications: int


_families: dict[str, Family] = {}


def jobs(families: Sequence[Family], rules: Mapping[str, int]) -> list[Job]:
    """Everything to do, family by family; `rules` says how many replications each rule gets."""
    return [
        Job(rule, family.name, setting, replications)
        for family in families
        for rule, replications in rules.items()
        for setting in range(len(family.settings))
    ]


def run(
    families: Sequence[Family], todo: Sequence[Job], workers: int = 2, folder: Path = FOLDER
) -> Iterator[tuple[Job, list[Outcome], int]]:
    """Outcomes job by job, as they come, and how many of them had to be played; what is kept is not played again."""
    _open(families)
    for rule in {job.rule for job in todo}:
        rulebook.load(rule)
    kept, left = Kept(folder), []
    for job in todo:
        outcomes = kept.load(kept.path(job.rule, _families[job.family], job.setting))
        if len(outcomes) >= job.replications:
            yield job, outcomes[: job.replications], 0
        else:
            left.append(job)
    if workers == 1:
        for job in left:
            yield job, *_play(job, folder)
        return
    with ProcessPoolExecutor(workers, initializer=_open, initargs=(families,)) as pool:
        futures: dict[Future[tuple[list[Outcome], int]], Job] = {pool.submit(_play, job, folder): job for job in left}
        for future in as_completed(futures):
            yield futures[future], *future.result()


def _open(families: Sequence[Family]) -> None:
    _families.clear()
    _question.cache_clear()
    _table.cache_clear()
    _families.update({family.name: family for family in families})


@lru_cache(maxsize=4)
def _table(family: str) -> Table:
    return Table(_families[family])


@lru_cache(maxsize=64)
def _question(family: str, setting: int) -> Question:
    return Question(_table(family), _families[family].settings[setting])


def _play(job: Job, folder: Path) -> tuple[list[Outcome], int]:
    family, kept = _families[job.family], Kept(folder)
    path = kept.path(job.rule, family, job.setting)
    outcomes = kept.load(path)
    question, rule, done = _question(job.family, job.setting), rulebook.load(job.rule), len(outcomes)
    outcomes += [question.play(rule, job.setting * SEEDS + seed) for seed in range(done, job.replications)]
    kept.save(path, outcomes)
    return outcomes, len(outcomes) - done
