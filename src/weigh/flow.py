"""The flow: lock, race, judge, measure the winner again, record."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import Field, ValidationError

from weigh import catalog
from weigh.choice import Block, Choice, Exhibit, Frozen, Option, Table, Task, UsageError, content_digest, unknown
from weigh.decision import Budget, Constraint, Decision, Lock, OptionLock, by_block, feed
from weigh.engine import Engine, Limits, Trial
from weigh.engine.local import LocalEngine
from weigh.evidence import Evidence, Where
from weigh.ledger import DEFAULT, Ledger
from weigh.scale.race import Race
from weigh.verdict import conclude, finalists


class Question(Frozen):
    """One run of `decide`, as it is typed: the same in YAML, in Python and on the command line."""

    choice: str
    task: dict[str, Any] = {}
    options: tuple[str, ...] = Field((), description="what to race; all options of the choice when empty")
    require: tuple[str, ...] | None = Field(None, description="constraints; the choice's own when not given")
    objective: str = Field("", description="the measure to optimise; the choice's first when empty")
    epsilon: float | None = Field(None, ge=0, description="differences up to this do not matter")
    alpha: float = Field(0.05, gt=0, lt=0.5, description="probability of a wrong verdict, at most")
    seed: int = Field(0, ge=0)
    budget: str = Field("", description="200 (blocks), 90s, 5m; empty: all blocks of the task")
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a run, for whoever shows progress."""

    kind: Literal["locked", "block", "dropped", "fresh", "done"]
    lock: Lock
    race: Race
    block: int = 0
    option: str = ""
    resumed: bool = False


Watcher: TypeAlias = Callable[[Event], None]

_KEEP_EVERY = 0.1
"""Seconds of measuring that a killed run may lose at most, apart from the trial in flight."""


def decide(
    choice: str,
    task: Task | Mapping[str, Any],
    *,
    options: Sequence[str | Option] = (),
    require: Sequence[str] | None = None,
    objective: str = "",
    epsilon: float | None = None,
    alpha: float = 0.05,
    seed: int = 0,
    budget: str | int = "",
    limits: Limits | None = None,
    ledger: str | Path = DEFAULT,
    records: str | Path | None = "decisions",
    engine: Engine | None = None,
    watch: Watcher | None = None,
) -> Decision:
    """Race the options of a choice on a task, and decide.

    The same call again continues a run that was stopped, or returns the decision that it reached.

    Args:
        choice: ``area/choice``.
        task: what the choice's task class takes (files by path), or the task itself.
        options: what to race (``name:setting=value``, ``./mine.py`` or option objects); all when empty.
        require: constraints such as ``accuracy >= baseline - 0.01``; the choice's own when None.
        objective: the measure to optimise; the choice's first when empty.
        epsilon: differences in the objective up to this do not matter.
        alpha: probability of a wrong verdict, at most.
        seed: of every random choice.
        budget: blocks (``200``) or time (``90s``) after which to stop, settled or not.
        limits: what one trial may take.
        ledger: file or database URL that keeps evidence.
        records: folder for the decision's record; None to write none.
        engine: where trials run; local processes by default.
        watch: called with each `Event`.

    Raises:
        UsageError: something that was asked cannot work; the message says what to type instead.
    """
    made = catalog.choice(choice)
    question = Question(
        choice=choice, require=None if require is None else tuple(require), objective=objective,
        epsilon=epsilon, alpha=alpha, seed=seed, budget=str(budget),
    )  # fmt: skip
    with Ledger(ledger) as book, engine or LocalEngine(limits) as runner:
        locked = lock(made, question, make_task(made, task), catalog.resolve(made, list(options)), runner)
        book.save_lock(locked)
        known = book.decision(locked.digest())
        if known is not None:
            return known
        return run(locked, book, runner, records, watch or (lambda event: None))


def make_task(made: Choice, task: Task | Mapping[str, Any]) -> Task:
    """The task, validated.

    Raises:
        UsageError: a field is missing, unknown or of the wrong type.
    """
    if isinstance(task, Task):
        return _with_files(task)
    known = list(made.task.model_fields)
    for name in task:
        if name not in known:
            raise UsageError(unknown("task field", name, known, f"of {made.name}"))
    try:
        return _with_files(made.task.model_validate(dict(task)))
    except ValidationError as error:
        raise UsageError(f"the task of {made.name}: {catalog.plain(error)}") from None


def _with_files(task: Task) -> Task:
    for name in type(task).model_fields:
        value = getattr(task, name)
        if isinstance(value, Path) and not value.exists():
            raise UsageError(f"there is no file {value} ({name}) in {Path.cwd()}; type where it lies")
    return task


def lock(made: Choice, question: Question, task: Task, options: Sequence[Option], runner: Engine) -> Lock:
    """Fix everything that the verdict depends on."""
    required = made.require if question.require is None else question.require
    constraints = tuple(Constraint.parse(text, made.measures) for text in required)
    objective = made.measure(question.objective) if question.objective else made.measures[0]
    fields = task.model_dump(mode="json")
    return Lock(
        choice=question.choice,
        question=made.question,
        task=fields,
        task_fingerprint=task.fingerprint(),
        options=tuple(catalog.lock_option(made, option) for option in options),
        baseline=catalog.find(made, made.baseline).spec,
        measures=made.measures,
        objective=objective.name,
        cost=made.cost,
        constraints=constraints,
        alpha=question.alpha,
        epsilon=objective.tolerance if question.epsilon is None else question.epsilon,
        seed=question.seed,
        blocks=runner.open(question.choice, fields, question.seed),
        budget=Budget.parse(question.budget or None),
        assumptions=dict(made.assumptions),
        weigh=importlib.metadata.version("weigh"),
    )


def run(
    locked: Lock,
    book: Ledger,
    runner: Engine,
    records: str | Path | None = None,
    watch: Watcher = lambda event: None,
    *,
    exhibits: bool = True,
) -> Decision:
    """Race what is locked on an engine that has opened its task, and keep evidence, decision and record."""
    race = locked.race()
    rows = _race(locked, race, book, runner, watch)
    rows += _fresh(locked, race, book, runner, watch)
    decision = conclude(locked, race, rows)
    shown = _exhibits(locked, runner) if exhibits else []
    record, digest = "", ""
    if records is not None:
        from weigh.record import write

        record, digest = write(locked, decision, Path(records))
    book.save_decision(decision, shown, record, digest)
    watch(Event("done", locked, race, block=decision.blocks))
    return decision


def _exhibits(locked: Lock, runner: Engine) -> list[Exhibit]:
    """What a person is shown beside the decision; that it cannot be made is shown too, and loses nothing."""
    try:
        return runner.exhibits(locked.options)
    except RuntimeError as error:
        return [Table(title="No further tables and curves", columns=("why",), rows=((str(error),),))]


def _race(locked: Lock, race: Race, book: Ledger, runner: Engine, watch: Watcher) -> list[Evidence]:
    """Measure block by block until the verdict is settled or the budget is spent."""
    recorded = by_block(row for row in book.evidence(locked.digest()) if row.block < locked.blocks.race)
    rows: list[Evidence] = []
    watch(Event("locked", locked, race, resumed=bool(recorded)))
    for index in range(locked.blocks.race):
        if race.settled() or _spent(locked.budget, index, rows):
            break
        group = recorded.get(index, [])
        before = set(race.live())
        group = _measure(locked, index, race.wanted(), group, book, runner)
        rows += group
        feed(race, index, group)
        for name in sorted(before - set(race.live())):
            watch(Event("dropped", locked, race, index, name))
        watch(Event("block", locked, race, index))
    return rows


def _spent(budget: Budget, blocks: int, rows: Sequence[Evidence]) -> bool:
    if budget.blocks is not None and blocks >= budget.blocks:
        return True
    return budget.seconds is not None and sum(row.seconds for row in rows) >= budget.seconds


def _fresh(locked: Lock, race: Race, book: Ledger, runner: Engine, watch: Watcher) -> list[Evidence]:
    """Measure the finalists on blocks that the race did not use."""
    names = finalists(locked, race)
    start = locked.blocks.race
    count = min(locked.blocks.fresh, max(20, len({b for r in race.runners.values() for b in r.blocks})))
    recorded = by_block(row for row in book.evidence(locked.digest()) if row.block >= start)
    rows: list[Evidence] = []
    for index in range(start, start + count) if names else ():
        rows += _measure(locked, index, names, recorded.get(index, []), book, runner)
        watch(Event("fresh", locked, race, index))
    return rows


def _measure(
    locked: Lock, index: int, names: Sequence[str], known: list[Evidence], book: Ledger, runner: Engine
) -> list[Evidence]:
    """The evidence of one block: what the ledger has, and what is missing, measured and kept at once."""
    have = {row.option for row in known}
    options = [option for option in locked.options if option.spec in names and option.spec not in have]
    if not options:
        return known
    block = Block(index=index, seed=block_seed(locked.seed, index))
    digest = locked.digest()
    held: list[Evidence] = []
    kept = time.monotonic()
    for trial in runner.run(block, options):
        held.append(_evidence(digest, block, trial, options))
        if time.monotonic() - kept > _KEEP_EVERY:
            book.append(held)
            held, kept = [], time.monotonic()
    book.append(held)
    return [row for row in book.evidence(digest, index) if row.option in names]


def block_seed(seed: int, index: int) -> int:
    """The seed of one block: spread well, and the same in every run with the same seed."""
    return int(content_digest([seed, index])[7:19], 16) >> 1


def _evidence(lock_digest: str, block: Block, trial: Trial, options: Sequence[OptionLock]) -> Evidence:
    settings = next(option.settings for option in options if option.spec == trial.option)
    return Evidence(
        lock=lock_digest, option=trial.option, settings=settings, block=block.index, seed=block.seed,
        values=trial.values,
        status=trial.status, reason=trial.reason, seconds=trial.seconds, memory_mb=trial.memory_mb, where=Where.here(),
        at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )  # fmt: skip
