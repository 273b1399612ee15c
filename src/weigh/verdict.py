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
from weigh.scale.figures import ends, with_unit
from weigh.scale.gauge import Limit
from weigh.scale.interval import Interval
from weigh.scale.race import Race, Runner

_SAID = {"": "it is", "difference": "its difference from the baseline is", "ratio": "its ratio to the baseline is"}


def conclude(lock: Lock, race: Race, rows: Sequence[Evidence]) -> Decision:
    """The decision on a race as it stands; `rows` holds the race's evidence and that of the fresh blocks."""
    verdict, chosen, tied = _verdict(lock, race)
    more = _more_blocks(lock, race, verdict, chosen, tied)
    raced = [row for row in rows if row.block < lock.blocks.race]
    confirmation = _confirm(lock, rows, chosen, tied)
    standings = tuple(_standing(lock, race, name, verdict, chosen, tied) for name in race.runners)
    return Decision(
        lock=lock.digest(),
        choice=lock.choice,
        question=lock.question,
        verdict=verdict,
        chosen=chosen,
        tied=tied,
        answer=_answer(lock, race, verdict, chosen, tied, more) + _but(confirmation),
        confidence=f"wrong at most {_risk(lock)} of the time" if verdict in ("chosen", "tie") else "not decided",
        alpha=lock.alpha,
        objective=lock.objective,
        constraints=tuple(str(constraint) for constraint in lock.constraints),
        standings=standings,
        confirmation=confirmation,
        approximations=_approximations(lock, standings),
        assumptions=lock.assumptions,
        more_blocks=more,
        blocks=len({row.block for row in raced}),
        measurements=len(raced),
        exhaustive=len(lock.options) * lock.blocks.race,
        evidence=evidence_digest(list(rows)),
        rows=len(rows),
    )


def finalists(lock: Lock, race: Race) -> list[str]:
    """The options that the fresh blocks measure again: the winner, the runner-up and the baseline.

    In a series over time all of them: who was beaten on the past may be better afterwards.
    """
    _, chosen, _ = _verdict(lock, race)
    if chosen is None:
        return []
    others = [name for name, runner in race.runners.items() if name != chosen and runner.state in ("live", "dominated")]
    others.sort(key=race.rank)
    names = [chosen, *(others if race.objective.serial else others[:1])]
    baseline = race.runners[lock.baseline]
    return names if lock.baseline in names or baseline.state == "failed" else [*names, lock.baseline]


def _verdict(lock: Lock, race: Race) -> tuple[Verdict, str | None, tuple[str, ...]]:
    """Options tie when they are certified to lie within epsilon, or when all blocks of the task do not part them."""
    live = race.live()
    feasible = [name for name in live if race.feasible(name)]
    if not live:
        return "none", None, ()
    if len(feasible) == len(live):
        if len(live) == 1 and not _contested(race, live[0]):
            return "chosen", live[0], ()
        if race.equivalent(live) or _exhausted(lock, race):
            return "tie", _cheapest(lock, race, live), tuple(live)
    return "undecided", min(feasible, key=race.rank) if feasible else None, ()


def _contested(race: Race, winner: str) -> bool:
    """Something that was dropped beats the winner: paired medians of times may go in a circle."""
    gone = [name for name, runner in race.runners.items() if runner.state == "dominated"]
    return race.objective.kind == "time" and any(race.feasible(name) and race.beats(name, winner) for name in gone)


def _exhausted(lock: Lock, race: Race) -> bool:
    """The race has used every block that the task has for it."""
    return _used(race) >= lock.blocks.race


def _used(race: Race) -> int:
    return len({block for runner in race.runners.values() for block in runner.blocks})


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
        return f"tied, and {_pick(lock)}"
    if verdict == "undecided":
        return f"{'meets every constraint' if lock.constraints else 'is ahead'}, but is not certified to be the best"
    return "meets every constraint, and no other that may meet them is better" if lock.constraints else "the best"


def _gain(lock: Lock, race: Race, name: str, rival: str) -> str:
    gain = race.advantage(name, rival)
    if race.objective.compared_by_ratio:
        return ends(gain.estimate, gain.low, gain.high, percent=True)
    return with_unit(_text(gain), lock.measure(lock.objective).unit)


def _text(interval: Interval) -> str:
    return ends(interval.estimate, interval.low, interval.high)


def _short(interval: Interval, bound: float, op: str) -> float:
    """By how much at the least the bound is missed."""
    return interval.low - bound if op == "<=" else bound - interval.high


def _answer(lock: Lock, race: Race, verdict: Verdict, chosen: str | None, tied: Sequence[str], more: int | None) -> str:
    if verdict == "none":
        return _nothing(lock, race)
    if verdict == "chosen":
        return _chosen(lock, race, str(chosen))
    if verdict == "tie":
        return _tie(lock, race, str(chosen), tied)
    settle = _settle(lock, race, more)
    if race.without_baseline():
        reason = race.runners[lock.baseline].reason
        return f"Nothing can be decided: constraints refer to {lock.baseline}, which could not be measured ({reason})."
    if chosen is None:
        what = "no option is certified to meet every constraint"
        return f"Not enough evidence: {what} at a risk of {_risk(lock)}.{settle}"
    rest = ", ".join(name for name in race.live() if name != chosen)
    known = f"meets every constraint{_where(lock)} (wrong at most {_risk(lock)} of the time)"
    lead = known if lock.constraints else f"is ahead in {lock.objective}"
    return f"Not enough evidence for the best: {chosen} {lead}, but {rest} may be better.{settle}"


def _chosen(lock: Lock, race: Race, chosen: str) -> str:
    what = f"Keep {chosen}, the baseline" if chosen == lock.baseline else f"Choose {chosen}"
    rivals = {name: runner for name, runner in race.runners.items() if name != chosen}
    if rivals and all(runner.state == "failed" for runner in rivals.values()):
        return f"{what}: none of the other {len(rivals)} could be measured ({next(iter(rivals.values())).reason})."
    best = f"the {'lowest' if lock.measure(lock.objective).better == 'lower' else 'highest'} {lock.objective}"
    why = f"it meets every constraint{_where(lock)}, with {best}" if lock.constraints else f"it has {best}"
    return f"{what}: {why}; wrong at most {_risk(lock)} of the time."


def _where(lock: Lock) -> str:
    """For whom a constraint on a finite set is certified: not for rows to come."""
    bounded = any(lock.measure(constraint.measure).finite for constraint in lock.constraints)
    return f" on these {lock.blocks.population:,} rows" if lock.blocks.population and bounded else ""


def _risk(lock: Lock) -> str:
    """The error rate, with 'about' where a bound that decides is asymptotic."""
    decisive = {lock.objective, *(constraint.measure for constraint in lock.constraints)}
    about = any(lock.measure(name).serial for name in decisive)
    return f"{'about ' if about else ''}{100 * lock.alpha:.3g}%"


def _settle(lock: Lock, race: Race, more: int | None) -> str:
    """How many more blocks it would take, and whether the task has them."""
    left = lock.blocks.race - _used(race)
    if more is None:
        return f" The task has {left:,} more blocks." if left else " The task has no more blocks."
    if more <= left:
        return f" About {more:,} more blocks would settle it."
    have = f"only {left:,} are left of the task" if left else "the task has no more"
    return f" About {more:,} more blocks would settle it; {have}."


def _tie(lock: Lock, race: Race, chosen: str, tied: Sequence[str]) -> str:
    names = ", ".join([chosen, *(name for name in tied if name != chosen)])
    if race.equivalent(tied):
        within = f"{100 * lock.epsilon:.3g}%" if race.objective.compared_by_ratio else f"{lock.epsilon:g}"
        what = f"are within {within} of each other in {lock.objective}"
    else:
        what = f"are not told apart in {lock.objective} by all blocks of the task, and the best is among them"
    return f"Tie: {names} {what}, wrong at most {_risk(lock)} of the time; take {chosen}, {_pick(lock)}."


def _pick(lock: Lock) -> str:
    return f"the cheapest of them by {lock.cost}" if lock.cost != lock.objective else "the best of them so far"


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
    """About how many more blocks would settle it: the leader's limits, and each rival in the quickest way."""
    if verdict in ("chosen", "none") or (verdict == "tie" and race.equivalent(tied)):
        return None
    leader = chosen or min(race.live(), key=race.rank)
    wants = [race.blocks_to_settle(leader, limit) for limit in _open(lock, race, leader)]
    wants += [_to_part(lock, race, leader, name) for name in race.live() if name != leader]
    known = [want for want in wants if want is not None]
    return max(known) if known and len(known) == len(wants) else None


def _open(lock: Lock, race: Race, name: str) -> list[Limit]:
    """The limits that an option is not certified to meet."""
    limits = [constraint.limit() for constraint in lock.constraints]
    return [limit for limit in limits if not limit.met(race.limit_interval(name, limit))]


def _to_part(lock: Lock, race: Race, leader: str, name: str) -> int | None:
    """Blocks until a rival is beaten, found to break a limit, or known to meet all and be as good or better."""
    unmet = {limit: race.limit_interval(name, limit) for limit in _open(lock, race, name)}
    ways = [race.blocks_to_settle(name, limit) for limit, now in unmet.items() if limit.missed(now.estimate)]
    parted = race.blocks_to_separate(leader, name)
    if ways or race.advantage(leader, name).estimate > 0:
        return min((way for way in (*ways, parted) if way is not None), default=None)
    needed = [parted, *(race.blocks_to_settle(name, limit) for limit in unmet)]
    return None if None in needed else max(way for way in needed if way is not None)


def _approximations(lock: Lock, standings: Sequence[Standing]) -> tuple[str, ...]:
    """Every method, whether it is exact in finite samples, what it assumes; and what measures leave out."""
    seen: dict[str, None] = {}
    for standing in standings:
        for name, estimate in {**standing.measured, **standing.versus_baseline}.items():
            if estimate.method != "exact":
                kind = "finite-sample guarantee" if estimate.exact else "asymptotic"
                seen[f"{name}: {estimate.method} ({kind}); assumes {estimate.assumption}"] = None
    caveats = (f"{measure.name}: {measure.caveat} (left out)" for measure in lock.measures if measure.caveat)
    return (*seen, *caveats)


def _confirm(lock: Lock, rows: Sequence[Evidence], chosen: str | None, tied: Sequence[str]) -> Confirmation:
    """What the fresh blocks say of the winner."""
    fresh = [row for row in rows if row.block >= lock.blocks.race]
    if not chosen or chosen not in {row.option for row in fresh}:
        return Confirmation(status="not measured", text="the winner was not measured again on fresh blocks")
    blocks = len({row.block for row in fresh if row.option == chosen})
    if broke := [row for row in fresh if row.option == chosen and row.status != "measured"]:
        text = f"on {len(broke)} of {blocks} fresh blocks the winner {broke[0].status}: {broke[0].reason}"
        return Confirmation(status="contradicted", text=text, blocks=blocks)
    race, names = _fresh_race(lock, fresh)
    checks = tuple(_check(race, chosen, constraint) for constraint in lock.constraints)
    measured = {
        name: {
            m.name: Estimate.of(race.level(name, m.name)) for m in lock.measures if m.name in race.runners[name].values
        }
        for name in names
    }
    status, text = _confirmation_text(race, chosen, checks, [name for name in names if name != chosen], tied)
    return Confirmation(status=status, text=text, blocks=blocks, measured=measured, checks=checks)


def _fresh_race(lock: Lock, fresh: Sequence[Evidence]) -> tuple[Race, list[str]]:
    """A race over the fresh blocks, and the options that were measured on them."""
    measured = [row for row in fresh if row.status == "measured"]
    names = sorted({row.option for row in measured})
    race = lock.race(names if lock.baseline in names else [*names, lock.baseline], fresh=True)
    for block, group in by_block(measured).items():
        race.add(block, {row.option: row.values for row in group})
    return race, names


def _confirmation_text(
    race: Race, chosen: str, checks: Sequence[Check], rivals: Sequence[str], tied: Sequence[str]
) -> tuple[str, str]:
    """Confirmed is only what the fresh blocks certify by themselves."""
    for check in checks:
        if check.met is False:
            return "contradicted", f"on fresh blocks the winner breaks '{check.constraint}': measure again before use"
    better = [name for name in rivals if race.feasible(name) and race.beats(name, chosen)]
    if better:
        best = min(better, key=race.rank)
        return "contradicted", f"on fresh blocks {best} is better than {chosen} in {race.objective.name}"
    for check in checks:
        if check.met is None:
            return "inconclusive", f"fresh blocks agree, but are too few to certify '{check.constraint}' by themselves"
    for name in rivals:
        if name not in tied and race.feasible(name) and race.advantage(chosen, name).low < -race.epsilon:
            return "inconclusive", f"fresh blocks are too few to tell {chosen} from {name} by themselves"
    return "confirmed", "fresh blocks, not used by the race, agree"


def _but(confirmation: Confirmation) -> str:
    return f" But {confirmation.text}." if confirmation.status == "contradicted" else ""
