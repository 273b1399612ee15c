"""A race in words: the answer and how sure it is, and why each option was chosen or not. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from weigh.decision import Lock, Verdict
from weigh.ruling import Ruling, blocks_left
from weigh.scale.figures import ends, with_unit
from weigh.scale.halving import Contest
from weigh.scale.interval import Interval

_SAID = {"": "it is", "difference": "its difference from the baseline is", "ratio": "its ratio to the baseline is"}


def answer(lock: Lock, race: Contest, ruling: Ruling, more: int | None) -> str:
    """The answer in plain words, and how sure it is."""
    if ruling.verdict == "none":
        return _nothing(lock, race)
    if ruling.verdict == "chosen":
        return _chosen(lock, race, ruling)
    if ruling.verdict == "tie":
        return _tie(lock, race, ruling)
    if race.without_baseline():
        reason = race.runners[lock.baseline].reason
        return f"Nothing can be decided: constraints refer to {lock.baseline}, which could not be measured ({reason})."
    settle = _settle(lock, race, more)
    if ruling.chosen is None:
        what = "no option is certified to meet every constraint"
        return f"Not enough evidence: {what} at a risk of {risk(lock, race, ruling)}.{settle}"
    known = f"meets every constraint{_where(lock)} (wrong at most {risk(lock, race, ruling)} of the time)"
    lead = known if lock.constraints else f"is ahead in {lock.objective}"
    rest = ", ".join(ruling.rivals)
    return f"Not enough evidence for the best: {ruling.chosen} {lead}, but {rest} may be better.{settle}"


def _chosen(lock: Lock, race: Contest, ruling: Ruling) -> str:
    chosen = ruling.chosen
    what = f"Keep {chosen}, the baseline" if chosen == lock.baseline else f"Choose {chosen}"
    rivals = {name: runner for name, runner in race.runners.items() if name != chosen}
    if rivals and all(runner.state == "failed" for runner in rivals.values()):
        why_not = "; ".join(dict.fromkeys(f"{name}: {runner.reason}" for name, runner in rivals.items()))
        return f"{what}: nothing else could be measured ({why_not})."
    best = f"the {'lowest' if lock.measure(lock.objective).better == 'lower' else 'highest'} {lock.objective}"
    why = f"it meets every constraint{_where(lock)}, with {best}" if lock.constraints else f"it has {best}"
    return f"{what}: {why}; wrong at most {risk(lock, race, ruling)} of the time."


def _where(lock: Lock) -> str:
    """For whom a constraint on a finite set is certified: not for rows to come."""
    bounded = any(lock.measure(constraint.measure).finite for constraint in lock.constraints)
    return f" on these {lock.blocks.population:,} rows" if lock.blocks.population and bounded else ""


def risk(lock: Lock, race: Contest, ruling: Ruling) -> str:
    """The error rate, with 'about' where a bound that decides is asymptotic."""
    about = not all(interval.exact for interval in _deciding(race, ruling))
    return f"{'about ' if about else ''}{100 * lock.alpha:.3g}%"


def _deciding(race: Contest, ruling: Ruling) -> Iterator[Interval]:
    """The bounds that a verdict rests on: of limits, and of the lead over every other option."""
    taken = {*ruling.tied, *([ruling.chosen] if ruling.chosen else race.live())}
    for name in sorted(taken):
        yield from (race.limit_interval(name, limit) for limit in race.limits)
        others = (other for other, runner in race.runners.items() if other != name and runner.blocks)
        yield from (race.advantage(name, other) for other in others if race.runners[name].blocks)


def _settle(lock: Lock, race: Contest, more: int | None) -> str:
    """How many more blocks it would take, and whether the task has them."""
    left = blocks_left(lock, race)
    if more is None:
        if not left:
            return " The task has no more blocks."
        return f" The task has {left:,} more blocks{'; raise the budget to measure them' if str(lock.budget) else ''}."
    if more <= left:
        return f" About {more:,} more blocks would settle it."
    have = f"only {left:,} are left of the task" if left else "the task has no more"
    return f" About {more:,} more blocks would settle it; {have}."


def _tie(lock: Lock, race: Contest, ruling: Ruling) -> str:
    chosen, tied = ruling.chosen, ruling.tied
    names = ", ".join([str(chosen), *(name for name in tied if name != chosen)])
    if race.equivalent(tied):
        what = f"are within {lock.indifference} of each other in {lock.objective}"
    else:
        what = f"are not told apart in {lock.objective} by all blocks of the task, and the best is among them"
    return f"Tie: {names} {what}, wrong at most {risk(lock, race, ruling)} of the time; take {chosen}, {_pick(lock)}."


def granted(race: Contest) -> str:
    """What an answer over training rungs takes for granted, and whom its error rate leaves out; else nothing."""
    left = [name for name, runner in race.runners.items() if runner.state == "dominated" and runner.reason]
    capped = [name for name in left if not race.runners[name].by]
    text = ""
    if len(left) > len(capped):
        behind = [name for name in left if name not in capped]
        names = ", ".join(behind) if len(behind) <= 3 else f"{len(behind)} options"
        text = f" It takes for granted that what was worse on an early rung ({names}) would not have caught up."
    if capped:
        text += f" It leaves out {', '.join(capped)}: not told apart when a limited number went on."
    return text


def _pick(lock: Lock) -> str:
    return f"the cheapest of them by {lock.cost}" if lock.cost != lock.objective else "the best of them so far"


def _nothing(lock: Lock, race: Contest) -> str:
    """Why no option is left: which constraint, and by how much."""
    failed = [name for name, runner in race.runners.items() if runner.state == "failed"]
    if len(failed) == len(race.runners):
        return f"Nothing could be measured: {race.runners[failed[0]].reason}"
    closest = []
    for constraint in lock.constraints:
        limit = constraint.limit()
        gaps = {
            name: _short(race.limit_interval(name, limit), limit.bound, limit.op)
            for name, runner in race.runners.items()
            if runner.state == "violates" and runner.limit == limit
        }
        if gaps:
            name = min(gaps, key=lambda key: gaps[key])
            closest.append(f"'{constraint}' is missed by {gaps[name]:.3g} or more ({name} comes closest)")
    return f"No option meets every constraint: {'; '.join(closest)}; loosen it, or add an option."


def why(lock: Lock, race: Contest, name: str, ruling: Ruling) -> str:
    """Why an option was chosen, or was not."""
    runner = race.runners[name]
    if runner.state == "failed":
        return runner.reason
    if runner.state == "violates" and runner.limit is not None:
        text = next(str(c) for c in lock.constraints if c.limit() == runner.limit)
        interval = race.limit_interval(name, runner.limit)
        short = _short(interval, runner.limit.bound, runner.limit.op)
        return f"breaks '{text}': {_SAID[runner.limit.relative]} {_text(interval)}, short by {short:.3g} or more"
    if runner.state == "dominated":
        if not runner.by:
            return runner.reason
        gained = _gain(lock, race, runner.by, name)
        return f"{runner.by} is better in {lock.objective} by {gained} {runner.reason}".strip()
    if name == ruling.chosen:
        return _why_chosen(lock, ruling.verdict)
    for constraint in lock.constraints:
        interval = race.limit_interval(name, constraint.limit())
        if not constraint.limit().met(interval):
            return f"not known whether it meets '{constraint}': {_text(interval)}"
    if ruling.chosen is None:
        return "no option is certified to meet every constraint, so that none can be preferred"
    ahead = _gain(lock, race, ruling.chosen, name)
    return f"not told from {ruling.chosen} in {lock.objective}: {ruling.chosen} gains {ahead}"


def _why_chosen(lock: Lock, verdict: Verdict) -> str:
    if verdict == "tie":
        return f"tied, and {_pick(lock)}"
    if verdict == "undecided":
        return f"{'meets every constraint' if lock.constraints else 'is ahead'}, but is not certified to be the best"
    return "meets every constraint, and no other that may meet them is better" if lock.constraints else "the best"


def _gain(lock: Lock, race: Contest, name: str, rival: str) -> str:
    gain = race.advantage(name, rival)
    if race.objective.compared_by_ratio:
        return ends(gain.estimate, gain.low, gain.high, percent=True)
    return with_unit(_text(gain), lock.measure(lock.objective).unit)


def _text(interval: Interval) -> str:
    return ends(interval.estimate, interval.low, interval.high)


def _short(interval: Interval, bound: float, op: str) -> float:
    """By how much at the least the bound is missed."""
    return interval.low - bound if op == "<=" else bound - interval.high
