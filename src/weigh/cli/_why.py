"""Why a decision came out as it did, in figures: prices, closest calls, missing blocks, what would change it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weigh import show

if TYPE_CHECKING:
    from weigh.constraint import Constraint
    from weigh.decision import Decision, Lock, Standing
    from weigh.evidence import Evidence
    from weigh.grounds import Ground
    from weigh.remeasure import Remeasured
    from weigh.scale.halving import Contest

_CLOSEST = 4
"""How many of the claims that a verdict rests on are told one by one."""
_EFFECTS = {
    "another answer": "Another answer would be given if",
    "no longer certain": "The answer would no longer be certain if",
    "the same answer": "The answer would be the same if",
}


def again(found: Sequence[Remeasured]) -> list[str]:
    """What came of measuring again what the verdict rests on."""
    return [f"Measured again on {one.day or 'no day yet'} (seed {one.seed}): {one.text}." for one in found]


# prices


def costs(lock: Lock, made: Decision, rows: Sequence[Evidence]) -> list[str]:
    """What each constraint cost, and all of them together: the answer without it, on the same evidence."""
    found = [_cost(lock, made, rows, [one]) for one in lock.constraints]
    return found if len(found) < 2 else [*found, _cost(lock, made, rows, lock.constraints)]


def _cost(lock: Lock, made: Decision, rows: Sequence[Evidence], without: Sequence[Constraint]) -> str:
    from weigh.sensitivity import price

    one = len(without) == 1
    out = [s.option for s in made.standings if s.outcome == "violates" and (not one or _broken(s) == str(without[0]))]
    head = f"'{without[0]}'" if one else "All of them together"
    ruled = f"{show.count(len(out), 'option')} ({', '.join(out)})" if out else "no option"
    head = f"{head} ruled out {ruled}."
    free = f"without {'it' if one else 'them'}"
    paid = price(lock, rows, made, without)
    if paid.option is None and made.chosen is None:
        return f"{head} It changed nothing: {free}, there would be no option to take either."
    if paid.option == made.chosen:
        return f"{head} It cost nothing: {free}, {made.chosen} would be taken all the same."
    settled = "" if paid.verdict in ("chosen", "tie") else "; it takes more blocks to be sure of that"
    if paid.option is None or paid.lead is None:
        return f"{head} {free.capitalize()}, {paid.option or 'no option'} would be taken{settled}."
    sure = "" if paid.lead.low is not None and paid.lead.low > 0 else ", which may be nothing"
    gain = show.gain(lock, paid.lead)
    return f"{head} Its price: {paid.option} is better in {lock.objective} than {made.chosen} by {gain}{sure}{settled}."


def _broken(standing: Standing) -> str:
    return next((check.constraint for check in standing.checks if check.met is False), "")


# evidence


def evidence(made: Decision, rows: Sequence[Evidence]) -> list[str]:
    """How much was measured, where, and what did not come to its end."""
    spent = sum(row.seconds for row in rows)
    beside = made.rows - made.measurements
    fresh = f" and {show.count(beside, 'trial')} on fresh blocks" if beside else ""
    lines = [
        f"{show.count(made.measurements, 'trial')} on {show.count(made.blocks, 'block')} (measuring everything takes "
        f"{made.exhaustive:,}){fresh}: {show.seconds(spent)} in trials; kept as {made.evidence[:19]}."
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


def closest(lock: Lock, made: Decision, calls: Sequence[Ground]) -> list[str]:
    """The claims that the verdict rests on, the closest call first."""
    if not calls:
        return []
    lines = [f"The verdict rests on {show.count(len(calls), 'claim')}, the closest call first:"]
    lines += [f"- {_call(lock, made, call)}" for call in calls[:_CLOSEST]]
    if rest := calls[_CLOSEST:]:
        wide = "known without error" if rest[0].certain else f"certain up to {rest[0].slack:.3g} times as wide or more"
        lines.append(f"- {show.count(len(rest), 'other')}: {wide}.")
    if made.verdict == "undecided":
        return lines
    return [*lines, "A race stops as soon as it is certain, so that its closest call is a close one."]


def _call(lock: Lock, made: Decision, call: Ground) -> str:
    from weigh.scale.figures import number, with_unit
    from weigh.sensitivity import told

    percent = call.constraint is None and lock.measure(lock.objective).compared_by_ratio
    if call.constraint is not None:
        measure = lock.measure(call.constraint.measure)
        unit = "" if call.constraint.relative == "ratio" else measure.unit
        text = with_unit(show.interval(show.known(measure, call.interval, bool(call.constraint.relative))), unit)
    else:
        text = show.gain(lock, call.interval)
    if call.certain:
        return f"{told(lock, call)}: {text}, known without error."
    margin = f"{100 * call.margin:.2g}%" if percent else number(float(f"{call.margin:.2g}"))
    blocks = min(made.standing(name).blocks for name in (call.option, call.rival or call.option))
    return (
        f"{told(lock, call)}: {text} on {show.count(blocks, 'block')}; clears its bound by {margin}: certain up to an "
        f"interval {call.slack:.3g} times as wide."
    )


# more blocks


def more(lock: Lock, made: Decision, race: Contest) -> list[str]:
    """How many more blocks would settle what is not settled: as a whole, by constraint and by rival."""
    parts = []
    for standing in made.standings:
        for check in standing.checks if standing.dropped_at is None else ():
            if check.met is None and check.more_blocks:
                about = show.count(check.more_blocks, "more block")
                parts.append(f"{standing.option}: about {about} would tell whether it meets '{check.constraint}'.")
    parts += _to_part(lock, made, race)
    return [_whole(lock, made, bool(parts)), *parts]


def _whole(lock: Lock, made: Decision, parts: bool) -> str:
    """How many more blocks would settle the verdict, and whether the task has them."""
    left = lock.blocks.race - made.blocks
    if made.more_blocks:
        where = (
            "the task has as many left; raise --budget"
            if left >= made.more_blocks
            else f"the task has {f'only {left:,}' if left else 'none'} left; give it more data, or rounds"
        )
        return f"About {show.count(made.more_blocks, 'more block')} would settle it ({where})."
    if made.verdict in ("chosen", "none"):
        return "Nothing: the verdict is settled."
    if made.verdict == "tie":
        return "They would hardly tell the tied options apart."
    room = f"; the task has {left:,} left, raise --budget" if left and str(lock.budget) else ""
    return f"No number of blocks can be named that would settle {'all of it' if parts else 'it'}{room}."


def _to_part(lock: Lock, made: Decision, race: Contest) -> list[str]:
    """Blocks that would tell the leader from each option that is left."""
    rivals = [one.option for one in made.standings if one.outcome in ("tied", "undecided") and one.blocks]
    lines = []
    for name in rivals if made.chosen and made.standing(made.chosen).blocks else ():
        if race.within(str(made.chosen), name):
            continue
        parted = race.blocks_to_separate(str(made.chosen), name)
        about = f"about {show.count(parted, 'more block')}" if parted else "no number of blocks that can be named"
        within = f", or show that they are within {lock.indifference}" if lock.epsilon else ""
        lines.append(f"{name}: {about} would tell it from {made.chosen} in {lock.objective}{within}.")
    return lines


# what would change it


def changes(lock: Lock, made: Decision, rows: Sequence[Evidence], calls: Sequence[Ground]) -> list[str]:
    """Each assumption that can be made to fail on the evidence, and what then becomes of the answer."""
    from weigh.sensitivity import probes

    found = probes(lock, rows, made, calls)
    lines = []
    for effect, head in _EFFECTS.items():
        if mine := [probe for probe in found if probe.effect == effect]:
            lines += [head, *(f"- {probe.what}{f': {probe.found}' if probe.found else ''}." for probe in mine)]
    return lines
