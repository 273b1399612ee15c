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
    """One setting of a family, played by one rule so many times."""

    rule: str
    setting: int
    replications: int


_playing: list[Family] = []


def jobs(family: Family, rules: Mapping[str, int]) -> list[Job]:
    """Everything to do on a family; `rules` says how many replications each rule gets."""
    return [Job(rule, setting, count) for rule, count in rules.items() for setting in range(len(family.settings))]


def run(
    family: Family, todo: Sequence[Job], workers: int = 2, folder: Path = FOLDER
) -> Iterator[tuple[Job, list[Outcome]]]:
    """Outcomes job by job, as they come; what is kept is not played again."""
    _open(family)
    kept, left = Kept(folder), []
    for job in todo:
        rulebook.load(job.rule)
        outcomes = kept.load(kept.path(job.rule, family, job.setting))
        if len(outcomes) >= job.replications:
            yield job, outcomes[: job.replications]
        else:
            left.append(job)
    if workers == 1:
        yield from ((job, _play(job, folder)) for job in left)
    elif left:
        with ProcessPoolExecutor(workers, initializer=_open, initargs=(family,)) as pool:
            futures: dict[Future[list[Outcome]], Job] = {pool.submit(_play, job, folder): job for job in left}
            for future in as_completed(futures):
                yield futures[future], future.result()


def _open(family: Family) -> None:
    _playing[:] = [family]
    _question.cache_clear()
    _table.cache_clear()


@lru_cache(maxsize=1)
def _table() -> Table:
    return Table(_playing[0])


@lru_cache(maxsize=32)
def _question(setting: int) -> Question:
    return Question(_table(), _playing[0].settings[setting])


def _play(job: Job, folder: Path) -> list[Outcome]:
    kept, rule = Kept(folder), rulebook.load(job.rule)
    path = kept.path(job.rule, _playing[0], job.setting)
    outcomes = kept.load(path)
    seeds = range(len(outcomes), job.replications)
    outcomes += [_question(job.setting).play(rule, job.setting * SEEDS + seed) for seed in seeds]
    kept.save(path, outcomes)
    return outcomes
