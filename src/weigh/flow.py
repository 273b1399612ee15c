"""The flow: lock, race, judge, measure the winner again, record."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from weigh import catalog
from weigh.choice import Block, Choice, Exhibit, Halted, Option, Table, Task, content_digest
from weigh.decision import Constraint, Decision, Lock, OptionLock, by_block, feed, judge
from weigh.engine import KEEP_EVERY, Engine, Limits, Trial
from weigh.engine.local import LocalEngine
from weigh.evidence import Evidence, Where
from weigh.ledger import DEFAULT, Ledger
from weigh.printable import printable
from weigh.question import Question as Question
from weigh.question import ask, budget_of, files_in, options_of, refused
from weigh.question import make_task as make_task
from weigh.scale.halving import Contest
from weigh.verdict import finalists


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a run, for whoever shows progress."""

    kind: Literal["locked", "block", "dropped", "back", "fresh", "done"]
    lock: Lock
    race: Contest
    block: int = 0
    option: str = ""
    resumed: bool = False


Watcher: TypeAlias = Callable[[Event], None]


def decide(
    choice: str,
    task: Task | Mapping[str, Any],
    *,
    options: str | Option | Sequence[str | Option] = (),
    require: str | Sequence[str] | None = None,
    objective: str = "",
    epsilon: float | None = None,
    alpha: float = 0.05,
    seed: int = 0,
    budget: str | int = "",
    limits: Limits | Mapping[str, float] | None = None,
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
        epsilon: differences in the objective up to this do not matter (a share for times and quantiles).
        alpha: probability of a wrong verdict, at most.
        seed: of every random choice.
        budget: blocks (``200``), a share of all measurements (``10%``) or time (``90s``) after which to stop.
        limits: what one trial may take.
        ledger: file or database URL that keeps evidence.
        records: folder for the decision's record; None to write none.
        engine: where trials run; local processes by default, `weigh.engine.ray.RayEngine` for a cluster.
        watch: called with each `Event`.

    Raises:
        UsageError: something that was asked cannot work; the message says what to type instead.
    """
    question = ask(
        choice=choice, require=require, objective=objective, epsilon=epsilon, alpha=alpha, seed=seed, budget=budget,
        limits=limits,
    )  # fmt: skip
    if not isinstance(ledger, str | Path):
        raise refused("ledger", ledger)
    if not isinstance(records, str | Path | None):
        raise refused("records", records)
    made = catalog.choice(question.choice)
    with Ledger(ledger) as book, engine or LocalEngine() as runner:
        runner.within(question.limits)
        runner.load(question.choice, files_in(options))
        locked = lock(made, question, make_task(made, task), options_of(made, options), runner)
        book.save_lock(locked)
        known = book.decision(locked.digest())
        if known is None:
            return run(locked, book, runner, records, watch or (lambda event: None))
        if records is not None:
            _record(locked, book, records, anew=False)
        return known


def lock(made: Choice, question: Question, task: Task, options: Sequence[Option], runner: Engine) -> Lock:
    """Fix everything that the verdict depends on."""
    measures = made.suiting(task)
    required = made.required(task) if question.require is None else question.require
    constraints = tuple(Constraint.parse(text, made.measures) for text in required)
    for constraint in constraints:
        made.measure(constraint.measure, measures)
    objective = made.measure(question.objective, measures) if question.objective else measures[0]
    fields = task.model_dump(mode="json")
    blocks = runner.open(question.choice, fields, question.seed)
    return Lock(
        choice=question.choice,
        question=made.question,
        task=fields,
        task_fingerprint=task.fingerprint(),
        options=tuple(catalog.lock_option(made, option) for option in options),
        baseline=catalog.find(made, made.baseline).spec,
        measures=measures,
        objective=objective.name,
        cost=made.cost,
        constraints=constraints,
        alpha=question.alpha,
        epsilon=objective.tolerance if question.epsilon is None else question.epsilon,
        seed=question.seed,
        blocks=blocks,
        budget=budget_of(question),
        limits=question.limits,
        assumptions={**made.assumptions, **blocks.assumptions()},
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
    decision = judge(locked, rows)
    shown = _exhibits(locked, runner) if exhibits else []
    unchanged(locked)
    book.save_decision(decision, shown)
    if records is not None:
        _record(locked, book, records, anew=True)
    watch(Event("done", locked, race, block=decision.blocks))
    return book.decision(locked.digest()) or decision


def unchanged(locked: Lock) -> None:
    """Raises `Halted` when the task's files or an option's code are no longer those that the lock fixed."""
    made = catalog.choice(locked.choice)
    if made.task.model_validate(locked.task).fingerprint() != locked.task_fingerprint:
        raise Halted(
            "what the task names was changed while it was measured, so that nothing is decided; type the same command "
            "again: it is another question now, and is measured anew"
        )
    for option in locked.options:
        if option.code:
            catalog.unlock_option(made, option)


def _record(locked: Lock, book: Ledger, records: str | Path, anew: bool) -> None:
    from weigh.record import write

    write(book, locked, Path(records), anew)


def _exhibits(locked: Lock, runner: Engine) -> list[Exhibit]:
    """What a person is shown beside the decision; that it cannot be made is shown too, and loses nothing."""
    try:
        return runner.exhibits(locked.options)
    except Exception as error:
        return [Table(title="No further tables and curves", columns=("why",), rows=((printable(str(error)),),))]


def _race(locked: Lock, race: Contest, book: Ledger, runner: Engine, watch: Watcher) -> list[Evidence]:
    """Measure block by block until the verdict is settled or the budget is spent."""
    recorded = by_block(row for row in book.evidence(locked.digest()) if row.block < locked.blocks.race)
    rows: list[Evidence] = []
    watch(Event("locked", locked, race, resumed=bool(recorded)))
    while not (race.settled() or locked.budget.out_of_time(rows)):
        index, names = race.next()
        before = set(race.live())
        expect(locked, range(index, locked.blocks.race), names, recorded, runner)
        group = measure(locked, index, names, recorded.get(index, []), book, runner)
        rows += group
        feed(race, index, group)
        for name in sorted(before - set(race.live())):
            watch(Event("dropped", locked, race, index, name))
        for name in sorted(set(race.live()) - before):
            watch(Event("back", locked, race, index, name))
        watch(Event("block", locked, race, index))
    return rows


def _fresh(locked: Lock, race: Contest, book: Ledger, runner: Engine, watch: Watcher) -> list[Evidence]:
    """Measure the finalists on blocks that the race did not use."""
    names = finalists(locked, race)
    start = locked.blocks.race
    count = min(locked.blocks.fresh, max(20, len({b for r in race.runners.values() for b in r.blocks})))
    recorded = by_block(row for row in book.evidence(locked.digest()) if row.block >= start)
    rows: list[Evidence] = []
    for index in range(start, start + count) if names else ():
        expect(locked, range(index, start + count), names, recorded, runner)
        rows += measure(locked, index, names, recorded.get(index, []), book, runner)
        watch(Event("fresh", locked, race, index))
    return rows


def expect(
    locked: Lock, blocks: range, names: Sequence[str], recorded: Mapping[int, list[Evidence]], runner: Engine
) -> None:
    """Tell an engine that takes several blocks at once which come next if the same options go on, to the rung's end."""
    if (ahead := runner.ahead) < 2:
        return
    same = [index for index in blocks[:ahead] if locked.blocks.rung(index) == locked.blocks.rung(blocks[0])]
    missing = [(index, _missing(locked, names, recorded.get(index, []))) for index in same]
    runner.expect([(_block(locked, index), options) for index, options in missing if options])


def _missing(locked: Lock, names: Sequence[str], known: Sequence[Evidence]) -> list[OptionLock]:
    have = {row.option for row in known}
    return [option for option in locked.options if option.spec in names and option.spec not in have]


def _block(locked: Lock, index: int) -> Block:
    return Block(index=index, seed=block_seed(locked.seed, index))


def measure(
    locked: Lock, index: int, names: Sequence[str], known: list[Evidence], book: Ledger, runner: Engine
) -> list[Evidence]:
    """The evidence of one block: what the ledger has, and what is missing, measured and kept at once."""
    options = _missing(locked, names, known)
    if not options:
        return known
    block = _block(locked, index)
    digest = locked.digest()
    held: list[Evidence] = []
    kept = time.monotonic()
    for trial in runner.run(block, options):
        held.append(_evidence(digest, block, trial, options))
        if time.monotonic() - kept > KEEP_EVERY:
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
        status=trial.status, reason=trial.reason, seconds=trial.seconds, memory_mb=trial.memory_mb,
        where=trial.where or Where.here(), at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )  # fmt: skip
