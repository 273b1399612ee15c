"""What blocks that the race did not use say of its winner. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from weigh.decision import Check, Confirmation, Estimate, Lock, by_block
from weigh.evidence import Evidence
from weigh.scale.halving import Contest


def confirm(lock: Lock, rows: Sequence[Evidence], chosen: str | None, tied: Sequence[str]) -> Confirmation:
    """What the fresh blocks say of the winner."""
    fresh = [row for row in rows if row.block >= lock.blocks.race]
    if not chosen or chosen not in {row.option for row in fresh}:
        return Confirmation(status="not measured", text="the winner was not measured again on fresh blocks")
    blocks = len({row.block for row in fresh if row.option == chosen})
    if broke := [row for row in fresh if row.option == chosen and row.status != "measured"]:
        text = f"on {len(broke)} of {blocks} fresh blocks the winner {broke[0].status}: {broke[0].reason}"
        return Confirmation(status="contradicted", text=text, blocks=blocks)
    race, names = _fresh_race(lock, fresh)
    checks = tuple(Check.of(race, chosen, constraint) for constraint in lock.constraints)
    measured = {
        name: {
            m.name: Estimate.of(race.level(name, m.name)) for m in lock.measures if m.name in race.runners[name].values
        }
        for name in names
    }
    status, text = _confirmation_text(race, chosen, checks, [name for name in names if name != chosen], tied)
    return Confirmation(status=status, text=text, blocks=blocks, measured=measured, checks=checks)


def _fresh_race(lock: Lock, fresh: Sequence[Evidence]) -> tuple[Contest, list[str]]:
    """A race over the fresh blocks, and the options that were measured on them."""
    measured = [row for row in fresh if row.status == "measured"]
    names = sorted({row.option for row in measured})
    race = lock.race(names if lock.baseline in names else [*names, lock.baseline], fresh=True)
    for block, group in by_block(measured).items():
        race.add(block, {row.option: row.values for row in group})
    return race, names


def _confirmation_text(
    race: Contest, chosen: str, checks: Sequence[Check], rivals: Sequence[str], tied: Sequence[str]
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
