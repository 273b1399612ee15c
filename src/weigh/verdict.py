"""From a race to a decision: pure, and free of any particular choice."""

from __future__ import annotations

from collections.abc import Sequence

from weigh.answer import answer, granted, risk, why
from weigh.confirmation import confirm
from weigh.decision import LEFT_OUT, Check, Confirmation, Decision, Estimate, Lock, Outcome, Standing
from weigh.evidence import Evidence, evidence_digest
from weigh.ruling import Ruling, more_blocks, rule
from weigh.scale.halving import Contest
from weigh.scale.race import Runner


def conclude(lock: Lock, race: Contest, rows: Sequence[Evidence]) -> Decision:
    """The decision on a race as it stands; `rows` holds the race's evidence and that of the fresh blocks."""
    ruling = rule(lock, race)
    more = more_blocks(lock, race, ruling)
    raced = [row for row in rows if row.block < lock.blocks.race]
    confirmation = confirm(lock, rows, ruling.chosen, ruling.tied)
    standings = tuple(_standing(lock, race, name, ruling) for name in race.runners)
    return Decision(
        lock=lock.digest(),
        choice=lock.choice,
        question=lock.question,
        verdict=ruling.verdict,
        chosen=ruling.chosen,
        tied=tuple(ruling.tied),
        answer=answer(lock, race, ruling, more) + granted(race) + _but(confirmation),
        confidence=_confidence(lock, race, ruling),
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


def _confidence(lock: Lock, race: Contest, ruling: Ruling) -> str:
    if ruling.verdict not in ("chosen", "tie"):
        return "not decided"
    return f"wrong at most {risk(lock, race, ruling)} of the time"


def _but(confirmation: Confirmation) -> str:
    return f" But {confirmation.text}." if confirmation.status == "contradicted" else ""


def finalists(lock: Lock, race: Contest) -> list[str]:
    """The options that the fresh blocks measure again: the winner, the runner-up and the baseline.

    In a series over time all of them: who was beaten on the past may be better afterwards. Over training rungs also
    the nearest of those that were left behind on the way: it might have caught up.
    """
    chosen = rule(lock, race).chosen
    if chosen is None:
        return []
    others = [name for name, runner in race.runners.items() if name != chosen and runner.state in ("live", "dominated")]
    others.sort(key=race.rank)
    behind = [name for name in others[1:] if race.runners[name].reason]
    names = [chosen, *(others if race.objective.serial else [*others[:1], *behind[:1]])]
    baseline = race.runners[lock.baseline]
    return names if lock.baseline in names or baseline.state == "failed" else [*names, lock.baseline]


def _standing(lock: Lock, race: Contest, name: str, ruling: Ruling) -> Standing:
    runner = race.runners[name]
    measured = [m for m in lock.measures if m.name in runner.values]
    advantage, chosen = None, ruling.chosen
    if chosen and name != chosen and runner.values and race.runners[chosen].values:
        advantage = Estimate.of(race.advantage(chosen, name))
    compared = [m for m in measured if name != lock.baseline and m.name in race.runners[lock.baseline].values]
    return Standing(
        option=name,
        outcome=_outcome(runner, name, ruling),
        why=why(lock, race, name, ruling),
        blocks=len(runner.blocks),
        dropped_at=runner.block,
        measured={m.name: Estimate.of(race.level(name, m.name)) for m in measured},
        versus_baseline={m.name: Estimate.of(race.versus_baseline(name, m.name)) for m in compared},
        advantage=advantage,
        checks=tuple(Check.of(race, name, constraint) for constraint in lock.constraints) if runner.values else (),
    )


def _outcome(runner: Runner, name: str, ruling: Ruling) -> Outcome:
    if runner.state != "live":
        return runner.state
    if name == ruling.chosen:
        return "leading" if ruling.verdict == "undecided" else "chosen"
    return "tied" if name in ruling.tied else "undecided"


def _approximations(lock: Lock, standings: Sequence[Standing]) -> tuple[str, ...]:
    """Every method, whether it is exact in finite samples, what it assumes; and what measures leave out."""
    seen: dict[str, None] = {}
    for standing in standings:
        for name, estimate in {**standing.measured, **standing.versus_baseline}.items():
            if estimate.method != "exact":
                kind = "finite-sample guarantee" if estimate.exact else "asymptotic"
                seen[f"{name}: {estimate.method} ({kind}); assumes {estimate.assumption}"] = None
    caveats = (f"{measure.name}: {LEFT_OUT}: {measure.caveat}" for measure in lock.measures if measure.caveat)
    return (*seen, *caveats)
