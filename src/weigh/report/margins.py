"""What would change the answer: how far each option is from another verdict."""

from __future__ import annotations

import math
from typing import NamedTuple

from weigh.decision import Check, Constraint, Decision, Estimate, Lock, Standing
from weigh.show import gain, interval, ordered


class Margin(NamedTuple):
    """One thing that would give another answer: the option it concerns, and what it takes."""

    option: str
    text: str


def margins(lock: Lock, made: Decision) -> tuple[Margin, ...]:
    """What it would take, option by option, the chosen one first."""
    found: list[Margin] = []
    for standing in ordered(lock, made):
        found += [Margin(standing.option, text) for text in _of(lock, made, standing)]
    return tuple(found)


def _of(lock: Lock, made: Decision, standing: Standing) -> list[str]:
    if standing.outcome == "failed":
        return [f"It is not in the race at all ({standing.why}): mend that and weigh again."]
    if standing.outcome == "dominated":
        return [_behind(lock, made, standing)]
    checks = {check.constraint: check for check in standing.checks}
    texts = []
    for constraint in lock.constraints:
        check = checks.get(str(constraint))
        if check is not None and (standing.outcome != "violates" or check.met is False):
            texts.append(_text(lock, constraint, check))
    if standing.outcome in ("tied", "undecided") and standing.advantage is not None:
        lead = f"{made.chosen} leads by {gain(lock, standing.advantage)} in {lock.objective}"
        texts.append(f"It is not told from {made.chosen}: {lead}.")
    return texts


def _behind(lock: Lock, made: Decision, standing: Standing) -> str:
    """By how much a dominated option is behind the chosen one; behind what dominated it, where that is not known."""
    lead = standing.advantage
    if lead is None or lead.low is None or lead.low <= 0:
        return f"It is behind in {lock.objective}: {standing.why}."
    by_ratio = lock.measure(lock.objective).kind in ("time", "quantile")
    short = f"{lead.low:.1%}" if by_ratio else f"{lead.low:.3g}"
    ahead = f"{made.chosen} leads by {gain(lock, lead)}"
    return f"It is behind in {lock.objective}: {ahead}, so it is short by {short} or more."


def _text(lock: Lock, constraint: Constraint, check: Check) -> str:
    end = _end(constraint, check)
    unit = "" if constraint.relative == "ratio" else f" {lock.measure(constraint.measure).unit}"
    if check.met is None:
        more = f"; about {check.more_blocks:,} more blocks would tell" if check.more_blocks else ""
        return f"Not known whether it meets `{constraint}`: it is {interval(check.interval)}{unit}{more}."
    if end is None:
        return f"It {'meets' if check.met else 'breaks'} `{constraint}`."
    moved = _moved(constraint, end)
    room = f"{abs(end - constraint.bound):.2g}{unit}"
    if check.met:
        return f"It meets `{constraint}` with {room} to spare: it would pass down to `{moved}`, and nothing stricter."
    return f"It breaks `{constraint}` by {room} or more: it stays out until the bound is `{moved}` or looser."


def _end(constraint: Constraint, check: Check) -> float | None:
    """The end of the interval that decides: the worse one of a bound that is met, the better one of a broken one."""
    value: Estimate = check.interval
    worse, better = (value.high, value.low) if constraint.op == "<=" else (value.low, value.high)
    return worse if check.met else better


def _moved(constraint: Constraint, end: float) -> Constraint:
    """The constraint with its bound at `end`, in three figures, rounded to the looser side."""
    if end == 0 or not math.isfinite(end):
        return constraint.model_copy(update={"bound": end})
    unit = 10.0 ** (math.floor(math.log10(abs(end))) - 2)
    rounded = (math.ceil if constraint.op == "<=" else math.floor)(round(end / unit, 6)) * unit
    return constraint.model_copy(update={"bound": float(f"{rounded:.6g}")})
