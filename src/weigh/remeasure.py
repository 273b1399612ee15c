"""Measures again what a recorded verdict rests on: under a new seed, on this machine, on this day.

A remeasurement is a question of its own. Its lock is the record's, with a new seed and only the options that matter,
so that its evidence stands in the ledger beside the record's, is never mixed with it, and goes on after a kill. No
decision is taken: what the evidence says of the record follows from lock and evidence (`weigh.holding`), and can be
asked again at any time (`remeasurements`).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from weigh import catalog
from weigh.choice import Choice, Frozen, Halted, Task, UsageError, content_digest
from weigh.decision import Budget, Decision, Lock, OptionLock, by_block, feed, replay
from weigh.engine import Engine
from weigh.engine.local import LocalEngine
from weigh.evidence import Evidence
from weigh.flow import Event, Watcher, expect, measure, unchanged
from weigh.grounds import grounds
from weigh.holding import Holding, holding, look, unresolved
from weigh.ledger import DEFAULT, Ledger
from weigh.question import make_task
from weigh.record import Front, number
from weigh.scale.halving import Contest
from weigh.verify import front_of, verify

CODES: dict[str, Literal[0, 5, 7]] = {"holds": 0, "not settled": 5, "contradicted": 7}
_CLOSEST = 3
"""How many of the options that were left out, those with the closest calls, are measured again."""


class Remeasured(Frozen):
    """What came of it: exit code 0 holds, 3 edited, 4 evidence missing, 5 not settled, 7 contradicted; and why."""

    code: Literal[0, 3, 4, 5, 7]
    text: str
    verified: str
    holding: Holding | None = None
    lock: str = ""
    seed: int | None = None
    day: str = ""
    notes: tuple[str, ...] = ()


def remeasure(
    record: str | Path,
    ledger: Ledger | str | Path = DEFAULT,
    *,
    seed: int | None = None,
    task: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    budget: str | int = "",
    engine: Engine | None = None,
    watch: Watcher = lambda event: None,
) -> Remeasured:
    """Verify a record, measure again what its verdict rests on, and say whether it holds.

    The same call again goes on where it stopped. Nothing is measured where the record does not verify.

    Args:
        record: the record's file.
        ledger: what holds the record's evidence; the new evidence goes there too, under a lock of its own.
        seed: of the new blocks; drawn from the record's lock and the day when None.
        task: fields of the task whose files lie elsewhere on this machine: name -> path.
        options: files of options from outside that lie elsewhere on this machine.
        budget: blocks (``200``), a share of all measurements (``10%``) or time (``90s``) after which to stop; all of
            the task's blocks when empty.
        engine: where trials run; local processes by default.
        watch: called with each `weigh.flow.Event`.

    Raises:
        UsageError: the record is not there or decided nothing, or what it was measured on is not here.
    """
    limit = Budget.parse(budget or None)
    verified = verify(record, ledger)
    if verified.code:
        return Remeasured(code=verified.code, text=verified.text, verified=verified.text)
    digest = Front.model_validate(front_of(Path(record).read_text("utf-8"))).lock.digest()
    with nullcontext(ledger) if isinstance(ledger, Ledger) else Ledger(ledger) as book:
        first, made = book.lock(digest), book.decision(digest)
        assert made is not None
        with engine or LocalEngine() as runner:
            runner.within(first.limits)
            again = _lock(first, made, book.evidence(digest), runner, _seed(first, seed), task or {}, options, record)
            book.save_lock(again)
            _measured(made, again, limit, book, runner, watch)
        found = _found(first, made, again, book)
    return found.model_copy(update={"verified": verified.text})


def remeasurements(book: Ledger, first: Lock, made: Decision) -> list[Remeasured]:
    """What each remeasurement that the ledger has says of a decision, in the order of time."""
    return [
        _found(first, made, lock, book)
        for lock in book.locks()
        if lock.question == _question(first) and lock.task_fingerprint == first.task_fingerprint
    ]


def _found(first: Lock, made: Decision, again: Lock, book: Ledger) -> Remeasured:
    rows = book.evidence(again.digest())
    held = heard(made, again, rows)
    return Remeasured(
        code=CODES[held.status],
        text=f"{held.status}: {held.text}",
        verified="",
        holding=held,
        lock=again.digest(),
        seed=again.seed,
        day=max((row.at for row in rows), default="")[:10],
        notes=tuple(_notes(first, book.evidence(first.digest()), again, rows)),
    )


def heard(made: Decision, again: Lock, rows: Sequence[Evidence]) -> Holding:
    """What new evidence says of a decision, looked at as it was when it was measured."""
    stage = _last_stage(again)
    race = stage.race()
    for count, (block, group) in enumerate(by_block(rows).items(), 1):
        feed(race, block, group)
        if _looked_at(count):
            look(race)
    return holding(made, stage, race)


def _last_stage(again: Lock) -> Lock:
    """The lock as if its blocks were all there are: those of the last rung, where options are trained on the way.

    Nothing is measured a third time, so that fresh blocks are used too, unless the others are all of a finite set, or
    a series over time.
    """
    blocks = again.blocks
    race = blocks.rungs[-1].blocks if blocks.rungs else blocks.race
    more = 0 if blocks.population or again.measure(again.objective).serial else blocks.fresh
    return again.model_copy(update={"blocks": blocks.model_copy(update={"race": race + more, "rungs": ()})})


def _looked_at(blocks: int) -> bool:
    """After each of the first blocks, and then eight times until there are twice as many: a look takes time too."""
    return blocks < 8 or math.floor(8 * math.log2(blocks)) > math.floor(8 * math.log2(blocks - 1))


# the lock


def _question(first: Lock) -> str:
    return f"Does {number(first)} hold when it is measured again?"


def _seed(first: Lock, seed: int | None) -> int:
    if seed is None:
        return int(content_digest([first.digest(), datetime.now(UTC).date().isoformat()])[7:15], 16)
    if seed == first.seed:
        raise UsageError(f"the record was measured with seed {seed}: its blocks would be the same; type another --seed")
    return seed


def _lock(
    first: Lock,
    made: Decision,
    rows: Sequence[Evidence],
    runner: Engine,
    seed: int,
    moved: Mapping[str, str],
    files: Sequence[str],
    record: str | Path,
) -> Lock:
    choice = catalog.choice(first.choice)
    names = matter(first, made, replay(first, rows))
    if not names:
        raise UsageError(
            f"{record} decided nothing that could be measured again: {made.answer} Type `weigh decide` with a larger "
            "--budget or more data"
        )
    if lost := next((file for file in files if not Path(file).is_file()), ""):
        raise UsageError(f"there is no file {lost}: type where the file of an option lies: --option PATH")
    task = _task(choice, first, moved, record)
    locked = [_option(choice, option, files) for option in first.options if option.spec in names]
    places = [option.source.rpartition(":")[0] for option in locked]
    runner.load(first.choice, [place for place in places if place.endswith(".py")])
    fields = task.model_dump(mode="json")
    return first.model_copy(
        update={
            "question": _question(first),
            "task": fields,
            "options": tuple(locked),
            "seed": seed,
            "blocks": runner.open(first.choice, fields, seed),
            "budget": Budget(),
            "weigh": importlib.metadata.version("weigh"),
        }
    )


def matter(first: Lock, made: Decision, race: Contest) -> list[str]:
    """The options that the verdict rests on: the chosen one, those tied with it, the baseline, the runner-up, and those
    that were left out by the closest calls; none where nothing was decided."""
    if made.verdict == "undecided":
        return []
    calls = grounds(first, made, race)
    out = [ground.rival or ground.option for ground in calls if ground.kind in ("breaks", "ahead")]
    leads = {one.option: one.advantage.estimate for one in made.standings if one.advantage and one.option in out}
    behind = [name for name in out if race.runners[name].state == "dominated" and leads.get(name) is not None]
    runner_up = sorted(behind, key=lambda name: leads[name] or 0.0)[:1]
    names = [*([made.chosen] if made.chosen else []), *made.tied, *runner_up, *out[:_CLOSEST]]
    if names and race.runners[first.baseline].state != "failed":
        names.append(first.baseline)
    return list(dict.fromkeys(names))


def _task(choice: Choice, first: Lock, moved: Mapping[str, str], record: str | Path) -> Task:
    """The record's task on this machine: its content has to be the same, wherever its files lie."""
    known = {name: value for name, value in first.task.items() if _paths(choice.task, name, value)}
    for name in moved:
        if name not in known:
            raise UsageError(f"the task of {record} has no file '{name}' (it has {', '.join(known) or 'none'})")
    fields = {**first.task, **{name: _like(first.task[name], text) for name, text in moved.items()}}
    for name in known:
        for path in _paths(choice.task, name, fields[name]):
            if not path.exists():
                raise UsageError(
                    f"{record} was measured on {path} ({name}), which is not in {Path.cwd()}: go to the folder that "
                    f"holds it, or type where it lies: --task {name}=PATH"
                )
    task = make_task(choice, fields)
    if task.fingerprint() != first.task_fingerprint:
        files = ", ".join(f"{name}={fields[name]}" for name in known) or "its fields"
        raise UsageError(
            f"the task is not the one that {record} was measured on: what {files} holds has changed since; bring the "
            "same files, or type `weigh decide` for a new verdict on these"
        )
    return task


def _paths(task: type[Task], name: str, value: object) -> list[Path]:
    """The files that a field of a task names."""
    if name not in task.model_fields or "Path" not in str(task.model_fields[name].annotation):
        return []
    values = value if isinstance(value, list) else [value]
    return [Path(one) for one in values if isinstance(one, str)]


def _like(value: object, text: str) -> object:
    return text.split(",") if isinstance(value, list) else text


def _option(choice: Choice, locked: OptionLock, files: Sequence[str]) -> OptionLock:
    """An option as this machine has it: one from outside by its file, whose code has to be the same."""
    if not locked.code:
        return locked
    place, _, name = locked.source.rpartition(":")
    for path in map(Path, (*files, place)):
        if path.is_file() and "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest() == locked.code:
            return locked.model_copy(update={"source": f"{path.resolve()}:{name}"})
    if not place.endswith(".py"):
        return _imported(choice, locked)
    raise UsageError(
        f"the option {locked.spec} came from {place}, which is not here or was changed: type where the same file lies: "
        f"--option PATH/{Path(place).name}"
    )


def _imported(choice: Choice, locked: OptionLock) -> OptionLock:
    """An option of an installed package."""
    try:
        catalog.unlock_option(choice, locked)
    except Halted:
        raise UsageError(
            f"the option {locked.spec} ({locked.source}) was changed since: install the version of its package that "
            "the record was measured with, or type `weigh decide` for a new verdict"
        ) from None
    return locked


# the race


def _measured(made: Decision, again: Lock, limit: Budget, book: Ledger, runner: Engine, watch: Watcher) -> None:
    """Measure block by block until what the verdict rests on is settled, or the budget is spent."""
    recorded = by_block(book.evidence(again.digest()))
    stage = _last_stage(again)
    race, rows, told = stage.race(), list[Evidence](), stage.model_copy(update={"budget": limit})
    watch(Event("locked", told, race, resumed=bool(recorded)))
    names = list(race.runners)
    first = sum(rung.blocks for rung in again.blocks.rungs[:-1])
    for done in range(stage.blocks.race):
        if done and _looked_at(done):
            found = holding(made, stage, race)
            names = [] if found.status == "contradicted" else unresolved(made, race, found.findings)
        if not names:
            break
        index = first + done
        if index not in recorded and _spent(limit, stage, done, rows):
            break
        expect(again, range(index, first + stage.blocks.race), names, recorded, runner)
        group = measure(again, index, names, recorded.get(index, []), book, runner)
        before = set(race.live())
        rows += group
        feed(race, index, group)
        for name in sorted(before - set(race.live()) - {made.chosen}):
            watch(Event("dropped", told, race, done, name))
        watch(Event("block", told, race, done))
    unchanged(again)
    watch(Event("done", told, race))


def _spent(limit: Budget, stage: Lock, blocks: int, rows: Sequence[Evidence]) -> bool:
    share = limit.share and limit.share * len(stage.options) * stage.blocks.race
    return (
        (limit.blocks is not None and blocks >= limit.blocks)
        or limit.out_of_time(rows)
        or (share is not None and len(rows) >= share)
    )


# what goes beside it


def _notes(first: Lock, before: Sequence[Evidence], again: Lock, rows: Sequence[Evidence]) -> list[str]:
    notes = []
    then, now = (sorted({_place(row) for row in group}) for group in (before, rows))
    if now and then != now:
        notes.append(f"the record was measured on {', '.join(then)}; this was measured on {', '.join(now)}")
    for constraint in again.constraints:
        if not constraint.relative and again.measure(constraint.measure).compared_by_ratio:
            notes.append(f"'{constraint}' bounds an absolute figure, judged anew for this machine as busy as it is now")
    if _same(first, before, rows):
        notes.append("every value came out as it did then: the blocks of this task do not depend on the seed")
    return notes


def _place(row: Evidence) -> str:
    return f"{row.where.machine} ({row.where.cores} cores, Python {row.where.python}, weigh {row.where.weigh})"


def _same(first: Lock, before: Sequence[Evidence], rows: Sequence[Evidence]) -> bool:
    """Whether the random values of the same options on the same blocks are those of the record."""
    names = [measure.name for measure in first.measures if measure.kind == "mean"]
    old = {(row.option, row.block): row.values for row in before if row.status == "measured"}
    pairs = [(old[key], row.values) for row in rows if (key := (row.option, row.block)) in old]
    return bool(names and pairs) and all(a.get(name) == b.get(name) for a, b in pairs for name in names)
