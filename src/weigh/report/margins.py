"""What would change the answer: how far each option is from another verdict, and what that verdict would be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from weigh.decision import Check, Constraint, Decision, Estimate, Lock, Standing, judge
from weigh.evidence import Evidence
from weigh.scale.figures import number, with_unit
from weigh.show import bounded, gain, interval, known, ordered


class Margin(NamedTuple):
    """One thing that would give another answer: the option it concerns, and what it takes."""

    option: str
    text: str


def margins(lock: Lock, made: Decision, rows: Sequence[Evidence]) -> tuple[Margin, ...]:
    """What it would take, option by option, the chosen one first."""
    found: list[Margin] = []
    for standing in ordered(lock, made):
        found += [Margin(standing.option, text) for text in _of(lock, made, standing, rows)]
    return tuple(found)


def _of(lock: Lock, made: Decision, standing: Standing, rows: Sequence[Evidence]) -> list[str]:
    if standing.outcome == "failed":
        return [f"It is not in the race at all ({standing.why}): mend that and weigh again."]
    if standing.outcome == "dominated":
        return [_behind(lock, made, standing)]
    texts = []
    for constraint, check in _checks(lock, standing):
        if standing.outcome != "violates" or check.met is False:
            turns = _would_gain(lock, made, standing, constraint) if standing.option != made.chosen else check.met
            texts.append(_text(lock, constraint, check) + (_instead(lock, constraint, check, rows) if turns else ""))
    if standing.outcome in ("tied", "undecided") and standing.advantage is not None and made.chosen:
        texts.append(f"It is not told from {made.chosen}: {_lead(lock, made, standing.advantage)}.")
    return texts


def _checks(lock: Lock, standing: Standing) -> list[tuple[Constraint, Check]]:
    checks = {check.constraint: check for check in standing.checks}
    return [(c, checks[str(c)]) for c in lock.constraints if str(c) in checks]


def _would_gain(lock: Lock, made: Decision, standing: Standing, constraint: Constraint) -> bool:
    """Whether it is, of the options that a constraint alone excludes, the best, and better than the chosen one."""
    rivals = [
        one for one in ordered(lock, made)
        if one.outcome == "violates" and [c for c, check in _checks(lock, one) if check.met is False] == [constraint]
    ]  # fmt: skip
    lead = standing.advantage.estimate if standing.advantage else None
    return rivals[:1] == [standing] and (made.chosen is None or (lead is not None and lead < 0))


def _lead(lock: Lock, made: Decision, lead: Estimate) -> str:
    return f"{made.chosen} leads by {gain(lock, lead)} in {lock.objective}"


def _behind(lock: Lock, made: Decision, standing: Standing) -> str:
    """By how much a dominated option is behind the chosen one; behind what dominated it, where that is not known."""
    lead = standing.advantage
    if lead is None or lead.low is None or lead.low <= 0:
        return f"It is behind: {standing.why}."
    return f"It is behind: {_lead(lock, made, lead)}."


def _text(lock: Lock, constraint: Constraint, check: Check) -> str:
    end, measure = _end(constraint, check), lock.measure(constraint.measure)
    unit = "" if constraint.relative == "ratio" else measure.unit
    asked = bounded(lock, str(constraint))
    if check.met is None:
        more = f"; about {check.more_blocks:,} more blocks would tell" if check.more_blocks else ""
        now = with_unit(interval(known(measure, check.interval, compared=bool(constraint.relative))), unit)
        return f"Not known whether it meets `{asked}`: it is {now}{more}."
    if end is None:
        return f"It {'meets' if check.met else 'breaks'} `{asked}`."
    moved, exact = _moved(constraint, end), check.interval.low == check.interval.high
    room = with_unit(number(abs(moved.bound - constraint.bound)), unit)
    if check.met:
        return f"It meets `{asked}` with {room} to spare{'' if exact else ' at least'}: it would pass `{moved}` too."
    return f"It breaks `{asked}` by {room}{'' if exact else ' or more'}: it stays out until `{moved}` or looser."


def _end(constraint: Constraint, check: Check) -> float | None:
    """The end of the interval that decides: the worse one of a bound that is met, the better one of a broken one."""
    value: Estimate = check.interval
    worse, better = (value.high, value.low) if constraint.op == "<=" else (value.low, value.high)
    return worse if check.met else better


def _moved(constraint: Constraint, end: float, looser: bool = True) -> Constraint:
    """The constraint with its bound at `end`, in three figures, rounded to the looser side, or beyond the stricter."""
    if end == 0 or not math.isfinite(end):
        return constraint.model_copy(update={"bound": end})
    unit = 10.0 ** (math.floor(math.log10(abs(end))) - 2)
    up = (constraint.op == "<=") == looser
    whole = (math.ceil if up else math.floor)(round(end / unit, 6)) + (0 if looser else 1 if up else -1)
    return constraint.model_copy(update={"bound": float(f"{whole * unit:.6g}")})


def _instead(lock: Lock, constraint: Constraint, check: Check, rows: Sequence[Evidence]) -> str:
    """What the same evidence says when the bound is moved so far that this option changes sides for certain."""
    value = check.interval
    far = value.low if (constraint.op == "<=") == bool(check.met) else value.high
    if far is None or (far == 0 and check.met):
        return ""
    moved = _moved(constraint, far, looser=not check.met)
    measure = lock.measure(constraint.measure)
    span = measure.high - measure.low
    low, high = (-span, span) if constraint.relative else (measure.low, measure.high)
    if measure.kind == "mean" and not low < moved.bound < high:
        return ""
    where = "which it breaks" if check.met else "which it meets"
    return f" With `{moved}`, {where}, the same evidence says: {_verdict(_judged(lock, constraint, moved, rows))}."


def _judged(lock: Lock, old: Constraint, new: Constraint, rows: Sequence[Evidence]) -> Decision:
    """The decision on the race's evidence with another bound; measures that decide nothing are left aside."""
    constraints = tuple(new if one == old else one for one in lock.constraints)
    needed = {lock.objective, lock.cost, *(one.measure for one in constraints)}
    measures = tuple(measure for measure in lock.measures if measure.name in needed)
    asked = lock.model_copy(update={"constraints": constraints, "measures": measures})
    return judge(asked, [row for row in rows if row.block < lock.blocks.race])


def _verdict(made: Decision) -> str:
    """An answer in a few words."""
    if made.verdict == "none":
        return "no option would be left"
    if made.verdict == "undecided":
        lead = f"{made.chosen} would lead" if made.chosen else "no option would be certified to meet it"
        return f"not settled; {lead}"
    tie = f"a tie of {len(made.tied)}, and " if made.verdict == "tie" else ""
    return f"{tie}{made.chosen} would be chosen"
