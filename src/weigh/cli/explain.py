"""Say in words why a decision came out as it did, and what would change it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

from weigh.cli._flags import existing, json_flag, ledger_flag, print_json, short, taken

if TYPE_CHECKING:
    from weigh.decision import Decision, Estimate, Lock, Standing
    from weigh.evidence import Evidence


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

    with existing(ledger) as book:
        lock, made = taken(book, id)
        rows = book.evidence(lock.digest())
    sections = of_option(lock, made, rows, option) if option else of_decision(lock, made, rows)
    if as_json:
        told = [{"title": section.title, "items": list(section.items)} for section in sections]
        print_json({"id": short(made.lock), "answer": made.answer, "sections": told})
        return
    console = show.console()
    show.answer(console, made)
    show.sections(console, [(section.title, section.items) for section in sections])


def of_decision(lock: Lock, made: Decision, rows: Sequence[Evidence]) -> list[Section]:
    """The whole decision in words."""
    from weigh import show

    rivals = [standing for standing in show.ordered(lock, made) if standing.option != made.chosen]
    rank = lock.measure(lock.objective)
    unit = f" ({rank.unit})" if rank.unit and not rank.unit.startswith("of ") else ""
    asked = f"{made.question} The {rank.better} {lock.objective} wins: {rank.meaning}{unit}."
    return [
        Section("What was asked", [asked, *_asked(lock)]),
        Section("Why it is so", _chosen(lock, made)),
        Section(
            "What each constraint cost", [_cost(lock, made, text) for text in made.constraints] or ["There was none."]
        ),
        Section("Why not the others", [f"{s.option}: {_fate(lock, made, s)}" for s in rivals]),
        Section("Which evidence decided", _evidence(made, rows)),
        Section("What more blocks would do", _more(lock, made)),
        Section(
            "What re-opens it", [f"{what}: {how}" for what, how in made.assumptions.items()] or ["Nothing is watched."]
        ),
        Section("What every interval rests on", show.approximations(made, every=True) or ["Every figure is exact."]),
    ]


def _asked(lock: Lock) -> list[str]:
    from weigh import show

    lines = [f"Constraint: {show.bounded(lock, str(constraint))}." for constraint in lock.constraints]
    if lock.epsilon:
        lines.append(f"Differences in {lock.objective} up to {lock.epsilon:g} do not matter.")
    return [*lines, f"The verdict may be wrong {100 * lock.alpha:.3g}% of the time, at most."]


def _chosen(lock: Lock, made: Decision) -> list[str]:
    from weigh import show

    if made.chosen is None:
        return ["No option was chosen: " + made.answer]
    standing = made.standing(made.chosen)
    lines = [f"{made.chosen}: {standing.why}."]
    lines += [f"{show.check(lock, check)}." for check in standing.checks]
    for name, value in standing.versus_baseline.items():
        lines.append(f"Against the baseline {lock.baseline}, {name}: {show.versus(lock.measure(name), value)}.")
    return [*lines, f"Measured again on fresh blocks, {made.confirmation.status}: {made.confirmation.text}."]


def _cost(lock: Lock, made: Decision, constraint: str) -> str:
    """What the best option that a constraint ruled out would have gained in the objective."""
    from weigh import show

    out = [s for s in made.standings if s.outcome == "violates" and _broken(s) == constraint]
    if not out:
        return f"'{constraint}' ruled out no option."
    names = ", ".join(standing.option for standing in out)
    gains = [(s.advantage.estimate, s) for s in out if s.advantage is not None and s.advantage.estimate is not None]
    if not gains:
        return f"'{constraint}' ruled out {names}."
    least, best = min(gains, key=lambda gain: gain[0])
    assert best.advantage is not None
    if least >= 0:
        return (
            f"'{constraint}' ruled out {names}; it cost nothing: none of them is better in {lock.objective} "
            f"than {made.chosen}."
        )
    text = show.gain(lock, best.advantage, flip=True)
    return (
        f"'{constraint}' ruled out {names}. Its price: {best.option} is better in {lock.objective} than "
        f"{made.chosen} by {text}."
    )


def _broken(standing: Standing) -> str:
    return next((check.constraint for check in standing.checks if check.met is False), "")


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


def _evidence(made: Decision, rows: Sequence[Evidence]) -> list[str]:
    from weigh import show

    spent = sum(row.seconds for row in rows)
    lines = [
        f"{show.count(made.measurements, 'trial')} on {show.count(made.blocks, 'block')} (measuring everything takes "
        f"{made.exhaustive:,}), "
        f"{show.seconds(spent)} in trials; kept as {made.evidence[:19]}."
    ]
    places = sorted(
        {
            f"{row.where.machine}, {row.where.cores} cores, Python {row.where.python}, weigh {row.where.weigh}"
            for row in rows
        }
    )
    lines += [f"Measured on {place}." for place in places]
    statuses = {status: sum(row.status == status for row in rows) for status in ("unfit", "failed", "timeout")}
    return [
        *lines,
        *(f"{show.count(times, 'trial')} ended as {status}." for status, times in statuses.items() if times),
    ]


def _more(lock: Lock, made: Decision) -> list[str]:
    from weigh import show

    lines = []
    if made.more_blocks:
        left = lock.blocks.race - made.blocks
        where = (
            "the task has as many left; raise --budget"
            if left >= made.more_blocks
            else "the task has fewer left; bring more data"
        )
        lines.append(f"About {show.count(made.more_blocks, 'more block')} would settle it ({where}).")
    elif made.verdict in ("chosen", "none"):
        lines.append("Nothing: the verdict is settled.")
    elif made.verdict == "tie":
        lines.append("They would hardly tell the tied options apart.")
    else:
        lines.append("No number of blocks can be named that would settle it.")
    for standing in made.standings:
        for check in standing.checks if standing.dropped_at is None else ():
            if check.met is None and check.more_blocks:
                about = show.count(check.more_blocks, "more block")
                lines.append(f"{standing.option}: about {about} would tell whether it meets '{check.constraint}'.")
    return lines


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
    spent = f"{show.count(len(mine), 'trial')}, {show.seconds(sum(row.seconds for row in mine))} in trials"
    return [
        Section(option, [_fate(lock, made, standing)]),
        Section("Settings", [f"{name}: {value}" for name, value in locked.settings.items()] or ["It has none."]),
        Section("What was measured", [*measured, spent]),
        Section(f"Against the baseline {lock.baseline}", against or ["It is the baseline, or was not measured."]),
        Section("Constraints", checks or ["None was checked."]),
    ]
