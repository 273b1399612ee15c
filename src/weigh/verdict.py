"""The rules that turn a race into a decision: pure, and free of any particular choice."""

from __future__ import annotations

import math
from collections.abc import Sequence

from weigh.decision import (
    Check,
    Confirmation,
    Constraint,
    Decision,
    Estimate,
    Lock,
    Outcome,
    Standing,
    Verdict,
    by_block,
)
from weigh.evidence import Evidence, evidence_digest
from weigh.scale.interval import Interval
from weigh.scale.race import Race, Runner

_SAID = {"": "it is", "difference": "its difference from the baseline is", "ratio": "its ratio to the baseline is"}


def conclude(lock: Lock, race: Race, rows: Sequence[Evidence]) -> Decision:
    """The decision on a race as it stands; `rows` holds the race's evidence and that of the fresh blocks."""
    verdict, chosen, tied = _verdict(lock, race)
    more = _more_blocks(lock, race, verdict, chosen, tied)
    raced = [row for row in rows if row.block < lock.blocks.race]
    standings = tuple(_standing(lock, race, name, verdict, chosen, tied) for name in race.runners)
    return Decision(
        lock=lock.digest(),
        choice=lock.choice,
        question=lock.question,
        verdict=verdict,
        chosen=chosen,
        tied=tied,
        answer=_answer(lock, race, verdict, chosen, tied, more),
        alpha=lock.alpha,
        objective=lock.objective,
        constraints=tuple(str(constraint) for constraint in lock.constraints),
        standings=standings,
        confirmation=_confirm(lock, rows, chosen),
        approximations=_approximations(standings),
        assumptions=lock.assumptions,
        more_blocks=more,
        blocks=len({row.block for row in raced}),
        measurements=len(raced),
        exhaustive=len(lock.options) * lock.blocks.race,
        evidence=evidence_digest(list(rows)),
        rows=len(rows),
    )


def finalists(lock: Lock, race: Race) -> list[str]:
    """The options that the fresh blocks measure again: the winner, the runner-up and the baseline."""
    _, chosen, _ = _verdict(lock, race)
    if chosen is None:
        return []
    others = [name for name, runner in race.runners.items() if name != chosen and runner.state in ("live", "dominated")]
    others.sort(key=race.rank)
    names = [chosen, *others[:1]]
    baseline = race.runners[lock.baseline]
    return names if lock.baseline in names or baseline.state == "failed" else [*names, lock.baseline]


def _verdict(lock: Lock, race: Race) -> tuple[Verdict, str | None, tuple[str, ...]]:
    live = race.live()
    feasible = [name for name in live if race.feasible(name)]
    if not live:
        return "none", None, ()
    if len(feasible) == len(live):
        if len(live) == 1:
            return "chosen", live[0], ()
        return "tie", _cheapest(lock, race, live), tuple(live)
    return "undecided", _cheapest(lock, race, feasible) if feasible else None, ()


def _cheapest(lock: Lock, race: Race, names: Sequence[str]) -> str:
    """Of tied options the one that costs least by the choice's cost measure; the baseline where costs are equal."""
    measure = lock.measure(lock.cost)
    sign = 1.0 if measure.better == "lower" else -1.0

    def cost(name: str) -> tuple[float, bool, int]:
        estimate = race.level(name, lock.cost).estimate
        return (sign * estimate if math.isfinite(estimate) else math.inf, name != lock.baseline, names.index(name))

    return min(names, key=cost)


def _standing(lock: Lock, race: Race, name: str, verdict: Verdict, chosen: str | None, tied: Sequence[str]) -> Standing:
    runner = race.runners[name]
    measured = [m for m in lock.measures if m.name in runner.values]
    advantage = None
    if chosen and name != chosen and runner.values and race.runners[chosen].values:
        advantage = Estimate.of(race.advantage(chosen, name))
    compared = [m for m in measured if name != lock.baseline and m.name in race.runners[lock.baseline].values]
    return Standing(
        option=name,
        outcome=_outcome(runner, name, verdict, chosen, tied),
        why=_why(lock, race, name, verdict, chosen, tied),
        blocks=len(runner.blocks),
        dropped_at=runner.block,
        measured={m.name: Estimate.of(race.level(name, m.name)) for m in measured},
        versus_baseline={m.name: Estimate.of(race.versus_baseline(name, m.name)) for m in compared},
        advantage=advantage,
        checks=tuple(_check(race, name, constraint) for constraint in lock.constraints) if runner.values else (),
    )


def _outcome(runner: Runner, name: str, verdict: Verdict, chosen: str | None, tied: Sequence[str]) -> Outcome:
    if runner.state != "live":
        return runner.state
    if name == chosen:
        return "leading" if verdict == "undecided" else "chosen"
    return "tied" if name in tied else "undecided"


def _check(race: Race, name: str, constraint: Constraint) -> Check:
    limit = constraint.limit()
    interval = race.limit_interval(name, limit)
    met = True if limit.met(interval) else False if limit.broken(interval) else None
    more = race.blocks_to_settle(name, limit) if met is None else None
    return Check(constraint=str(constraint), interval=Estimate.of(interval), met=met, more_blocks=more)


def _why(lock: Lock, race: Race, name: str, verdict: Verdict, chosen: str | None, tied: Sequence[str]) -> str:
    runner = race.runners[name]
    if runner.state == "failed":
        return runner.reason
    if runner.state == "violates" and runner.limit is not None:
        text = next(str(c) for c in lock.constraints if c.limit() == runner.limit)
        interval = race.limit_interval(name, runner.limit)
        short = _short(interval, runner.limit.bound, runner.limit.op)
        return f"breaks '{text}': {_SAID[runner.limit.relative]} {_text(interval)}, short by {short:.3g} or more"
    if runner.state == "dominated":
        return f"{runner.by} is better in {lock.objective} by {_gain(lock, race, runner.by, name)}"
    if name == chosen:
        return _why_chosen(lock, verdict)
    for constraint in lock.constraints:
        interval = race.limit_interval(name, constraint.limit())
        if not constraint.limit().met(interval):
            return f"not known whether it meets '{constraint}': {_text(interval)}"
    if chosen is None:
        return "no option is certified to meet every constraint, so that none can be preferred"
    return f"not told from {chosen} in {lock.objective}: {chosen} gains {_gain(lock, race, chosen, name)}"


def _why_chosen(lock: Lock, verdict: Verdict) -> str:
    if verdict == "tie":
        return f"tied, and the cheapest of the tied by {lock.cost}"
    if verdict == "undecided":
        return "meets every constraint, but is not certified to be the best"
    return "meets every constraint, and no other that may meet them is better" if lock.constraints else "the best"


def _gain(lock: Lock, race: Race, name: str, rival: str) -> str:
    interval = race.advantage(name, rival)
    if race.objective.compared_by_ratio:
        return f"{interval.estimate:.1%} [{interval.low:.1%}, {interval.high:.1%}]"
    return f"{_text(interval)} {lock.measure(lock.objective).unit}"


def _text(interval: Interval) -> str:
    if interval.low == interval.high:
        return f"{interval.estimate:.4g}"
    return f"{interval.estimate:.4g} [{interval.low:.4g}, {interval.high:.4g}]"


def _short(interval: Interval, bound: float, op: str) -> float:
    """By how much at the least the bound is missed."""
    return interval.low - bound if op == "<=" else bound - interval.high


def _answer(lock: Lock, race: Race, verdict: Verdict, chosen: str | None, tied: Sequence[str], more: int | None) -> str:
    settle = f" About {more:,} more blocks would settle it." if more else ""
    if verdict == "none":
        return _nothing(lock, race)
    if verdict == "chosen":
        best = f"the {'lowest' if lock.measure(lock.objective).better == 'lower' else 'highest'} {lock.objective}"
        what = f"it meets every constraint, with {best}" if lock.constraints else f"it has {best}"
        return f"Choose {chosen}: {what}; wrong at most {lock.alpha:.0%} of the time."
    if verdict == "tie":
        return _tie(lock, race, str(chosen), tied, settle)
    if chosen:
        rest = ", ".join(name for name in race.live() if name != chosen and not race.feasible(name))
        return (
            f"Not enough evidence for the best: {chosen} meets every constraint (wrong at most {lock.alpha:.0%} "
            f"of the time), but {rest} may be better.{settle}"
        )
    return (
        f"Not enough evidence: no option is certified to meet every constraint at a risk of {lock.alpha:.0%}."
        f"{settle or ' This task has too few blocks to settle it.'}"
    )


def _tie(lock: Lock, race: Race, chosen: str, tied: Sequence[str], settle: str) -> str:
    names = ", ".join([chosen, *(name for name in tied if name != chosen)])
    same = race.equivalent(tied)
    within = f"are within {lock.epsilon:g} of each other" if same else "cannot be told apart by this evidence"
    return (
        f"Tie: {names} {within} in {lock.objective}; take {chosen}, the cheapest of them by {lock.cost} "
        f"(wrong at most {lock.alpha:.0%} of the time).{'' if same else settle}"
    )


def _nothing(lock: Lock, race: Race) -> str:
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


def _more_blocks(lock: Lock, race: Race, verdict: Verdict, chosen: str | None, tied: Sequence[str]) -> int | None:
    if verdict in ("chosen", "none") or (verdict == "tie" and race.equivalent(tied)):
        return None
    wants: list[int | None] = []
    for name in race.live():
        open_limits = [c.limit() for c in lock.constraints if not c.limit().met(race.limit_interval(name, c.limit()))]
        wants += [race.blocks_to_settle(name, limit) for limit in open_limits]
        if not open_limits and chosen and name != chosen:
            wants.append(race.blocks_to_separate(chosen, name))
    known = [want for want in wants if want is not None]
    return max(known) if known and len(known) == len(wants) else None


def _approximations(standings: Sequence[Standing]) -> tuple[str, ...]:
    """Every method that is not exact in finite samples, and what the exact ones assume."""
    seen: dict[str, None] = {}
    for standing in standings:
        for name, estimate in {**standing.measured, **standing.versus_baseline}.items():
            if estimate.method != "exact":
                kind = "finite-sample guarantee" if estimate.exact else "asymptotic"
                seen[f"{name}: {estimate.method} ({kind}); assumes {estimate.assumption}"] = None
    return tuple(seen)


def _confirm(lock: Lock, rows: Sequence[Evidence], chosen: str | None) -> Confirmation:
    """What the fresh blocks say of the winner."""
    fresh = [row for row in rows if row.block >= lock.blocks.race and row.status == "measured"]
    names = sorted({row.option for row in fresh})
    if not chosen or chosen not in names or lock.baseline not in [option.spec for option in lock.options]:
        return Confirmation(status="not measured", text="the winner was not measured again on fresh blocks")
    race = lock.race(names if lock.baseline in names else [*names, lock.baseline])
    for block, group in by_block(fresh).items():
        race.add(block, {row.option: row.values for row in group})
    checks = tuple(_check(race, chosen, constraint) for constraint in lock.constraints)
    rivals = [name for name in names if name != chosen]
    beaten = [name for name in rivals if race.feasible(name) and race.advantage(chosen, name).high < -lock.epsilon]
    measured = {
        name: {
            m.name: Estimate.of(race.level(name, m.name)) for m in lock.measures if m.name in race.runners[name].values
        }
        for name in names
    }
    status, text = _confirmation_text(checks, beaten)
    return Confirmation(status=status, text=text, blocks=len(by_block(fresh)), measured=measured, checks=checks)


def _confirmation_text(checks: Sequence[Check], beaten: Sequence[str]) -> tuple[str, str]:
    broken = [check.constraint for check in checks if check.met is False]
    unknown = [check.constraint for check in checks if check.met is None]
    if broken:
        return "contradicted", f"on fresh blocks the winner breaks '{broken[0]}': measure again before shipping it"
    if beaten:
        return "contradicted", f"on fresh blocks {beaten[0]} is better than the winner"
    if unknown:
        return "inconclusive", f"fresh blocks agree, but are too few to certify '{unknown[0]}' by themselves"
    return "confirmed", "fresh blocks, not used by the race, agree"
