"""Say in words why a decision came out as it did, and what would change it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

from weigh.cli._flags import existing, json_flag, ledger_flag, print_json, short, taken

if TYPE_CHECKING:
    from weigh.decision import Decision, Estimate, Lock, Standing
    from weigh.evidence import Evidence
    from weigh.remeasure import Remeasured


class Section(NamedTuple):
    """A heading and what stands under it, one item a line."""

    title: str
    items: Sequence[str]


@click.command("explain", short_help=__doc__)
@click.argument("id")
@click.argument("option", required=False)
@ledger_flag
@json_flag
def command(id: str, option: str | None, ledger: str, as_json: bool) -> None:
    """Say in words why the decision ID (the start of it, or `last`) came out as it did; or what became of OPTION."""
    from weigh import show
    from weigh.remeasure import remeasurements

    with existing(ledger) as book:
        lock, made = taken(book, id)
        rows = book.judged(made)
        again = [] if option else remeasurements(book, lock, made)
    sections = of_option(lock, made, rows, option) if option else of_decision(lock, made, rows, again)
    if as_json:
        told = [{"title": section.title, "items": list(section.items)} for section in sections]
        print_json({"id": short(made.lock), "answer": made.answer, "sections": told})
        return
    console = show.console()
    show.answer(console, made)
    show.sections(console, [(section.title, section.items) for section in sections])


def of_decision(
    lock: Lock, made: Decision, rows: Sequence[Evidence], again: Sequence[Remeasured] = ()
) -> list[Section]:
    """The whole decision in words; `again` is what came of measuring it again."""
    from weigh import show
    from weigh.cli import _why
    from weigh.decision import replay
    from weigh.grounds import grounds

    race = replay(lock, rows)
    calls = grounds(lock, made, race)

    rivals = [standing for standing in show.ordered(lock, made) if standing.option != made.chosen]
    rank = lock.measure(lock.objective)
    unit = f" ({rank.unit})" if rank.unit and not rank.unit.startswith("of ") else ""
    asked = f"{made.question} The {rank.better} {lock.objective} wins: {rank.meaning}{unit}."
    return [
        Section("What was asked", [asked, *_asked(lock)]),
        Section("Why it is so", [*_chosen(lock, made), *_why.again(again)]),
        Section("What each constraint cost", _why.costs(lock, made, rows) or ["There was none."]),
        Section("Why not the others", [f"{s.option}: {_fate(lock, made, s)}" for s in rivals]),
        Section("Which evidence decided", [*_why.evidence(made, rows), *_why.closest(lock, made, calls)]),
        Section("What more blocks would do", _why.more(lock, made, race)),
        Section("What would change the answer", _why.changes(lock, made, rows, calls)),
        Section("What re-opens it", _reopens(made) or ["Nothing is watched."]),
        Section("What every interval rests on", show.approximations(made, every=True) or ["Every figure is exact."]),
    ]


def _asked(lock: Lock) -> list[str]:
    from weigh import show

    lines = [
        f"Constraint: {show.bounded(lock, str(one))}. {one.measure}: {lock.measure(one.measure).meaning}."
        for one in lock.constraints
    ]
    if lock.epsilon:
        lines.append(f"Differences in {lock.objective} up to {lock.indifference} do not matter.")
    return [*lines, f"The verdict may be wrong {100 * lock.alpha:.3g}% of the time, at most."]


def _chosen(lock: Lock, made: Decision) -> list[str]:
    from weigh import show

    if made.chosen is None:
        return ["No option was chosen."]
    standing = made.standing(made.chosen)
    lines = [f"{made.chosen}: {standing.why}."]
    lines += [f"{show.check(lock, check)}." for check in standing.checks]
    for name, value in standing.versus_baseline.items():
        lines.append(f"Against the baseline {lock.baseline}, {name}: {show.versus(lock.measure(name), value)}.")
    return [*lines, f"Measured again on fresh blocks, {made.confirmation.status}: {made.confirmation.text}."]


def _reopens(made: Decision) -> list[str]:
    stands = [f"- {what} (that it does not, one would notice by: {how})." for what, how in made.assumptions.items()]
    return ["The answer stands while", *stands] if stands else []


def _typed(value: object) -> str:
    return "none" if value is None else str(value)


def _fate(lock: Lock, made: Decision, standing: Standing) -> str:
    from weigh import show

    when = show.left(made, standing)
    text = f"{standing.outcome}{' ' + when if when else ', to the end of the race'}: {standing.why}"
    if standing.advantage is not None and str(made.chosen) not in standing.why:
        text += f". {_lead(lock, made, standing.advantage)}"
    return text.rstrip(".") + "."


def _lead(lock: Lock, made: Decision, value: Estimate) -> str:
    """Which of the chosen option and another is ahead, and by how much."""
    from weigh import show

    behind = value.estimate is not None and value.estimate < 0
    who = f"It is ahead of {made.chosen}" if behind else f"{made.chosen} is ahead of it"
    return f"{who} in {lock.objective} by {show.gain(lock, value, flip=behind)}"


def of_option(lock: Lock, made: Decision, rows: Sequence[Evidence], option: str) -> list[Section]:
    """What became of one option, in words.

    Raises:
        UsageError: the decision knows no such option.
    """
    from weigh import show
    from weigh.scale.figures import with_unit

    standing = made.standing(option)
    locked = next(one for one in lock.options if one.spec == option)
    mine = [row for row in rows if row.option == option]
    measured = [
        f"{name}: {with_unit(show.level(lock.measure(name), value), lock.measure(name).unit)}"
        for name, value in standing.measured.items()
    ]
    against = [f"{name}: {show.versus(lock.measure(name), value)}" for name, value in standing.versus_baseline.items()]
    checks = [show.check(lock, check) for check in standing.checks]
    settings = [f"{name}: {_typed(value)}" for name, value in locked.settings.items()]
    spent = f"{show.count(len(mine), 'trial')}, {show.seconds(sum(row.seconds for row in mine))} in trials"
    return [
        Section(option, [_fate(lock, made, standing)]),
        Section("Settings", settings or ["It has none."]),
        Section("What was measured", [*measured, spent]),
        Section(f"Against the baseline {lock.baseline}", against or ["It is the baseline, or was not measured."]),
        Section("Constraints", checks or ["None was checked."]),
    ]
