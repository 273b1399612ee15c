"""Whether a verdict holds under evidence that it was not taken on. Pure.

The new evidence is judged by a race of its own at the decision's alpha:

- `contradicted` is said only where it certifies that the chosen option breaks a constraint, or that an option that
  meets every constraint is better by more than epsilon: of a true verdict, at most alpha of the time;
- `holds` is said only where it certifies that the chosen option meets every constraint, and of each rival that it
  breaks one or is not better by more than epsilon: of a false verdict, at most alpha of the time. Options that no
  evidence told apart (a tie of that kind) must stay so on as many blocks as there were then, which certifies nothing.

Both may be looked at after each block, since every claim rests on a confidence sequence; a series over time is heard
to its end.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field

from weigh.choice import Frozen
from weigh.decision import Check, Decision, Estimate, Lock
from weigh.scale.figures import ends, with_unit
from weigh.scale.halving import Contest

Status = Literal["holds", "contradicted", "not settled"]


class Finding(Frozen):
    """One thing that the verdict rests on, as it was found then and now."""

    option: str = Field(description="whom it is about")
    claim: str
    before: Estimate | None = Field(description="of what the constraint bounds, or of the chosen option's lead")
    now: Estimate | None
    found: Literal["again", "tied", "contradicted", "open", "away"] = Field(
        description="`tied`: not told apart, as before; `open`: not certified either way; `away`: not measured"
    )
    figures: str = Field("", description="both with their unit")
    why: str = Field("", description="what was found in place of the claim")
    against: bool = Field(False, description="open, and the estimate speaks against the claim")
    more_blocks: int | None = Field(None, description="about how many more blocks would tell")


class Holding(Frozen):
    """Whether a verdict holds, and what was found of each thing that it rests on."""

    status: Status
    text: str
    findings: tuple[Finding, ...]
    more_blocks: int | None = None
    blocks: int
    measurements: int


class _Trial(NamedTuple):
    """A decision before new evidence."""

    made: Decision
    lock: Lock
    race: Contest


def holding(made: Decision, again: Lock, race: Contest) -> Holding:
    """What a race over new evidence, under the lock `again`, says of a decision."""
    trial = _Trial(made, again, race)
    if made.chosen is None:
        findings = [_excluded(trial, name) for name in race.runners]
    else:
        findings = [_constraint(trial, made.chosen, str(one)) for one in again.constraints]
        findings += [_rival(trial, made.chosen, name) for name in race.runners if name != made.chosen]
    more = _more(trial, findings)
    status, text = _said(trial, findings, more)
    return Holding(
        status=status,
        text=text,
        findings=tuple(findings),
        more_blocks=more if status == "not settled" else None,
        blocks=_blocks(race),
        measurements=sum(len(runner.blocks) for runner in race.runners.values()),
    )


def look(race: Contest) -> None:
    """Ask of each option what `holding` asks, without finding intervals: what is certified now stays so."""
    for name, runner in race.runners.items():
        for limit in race.limits if runner.blocks else ():
            race.meets(name, limit)
            race.breaks(name, limit)


def _blocks(race: Contest) -> int:
    return len({block for runner in race.runners.values() for block in runner.blocks})


def _more(trial: _Trial, findings: list[Finding]) -> int | None:
    """About how many more blocks would settle it; None where no number would."""
    if left := _unheard(trial):
        return left
    wants = [finding.more_blocks for finding in findings if finding.found == "open"]
    known = [want for want in wants if want is not None]
    return max(known) if known and len(known) == len(wants) else None


def _unheard(trial: _Trial) -> int:
    """Blocks that a series over time has left, before which nothing is said of it."""
    return trial.lock.blocks.race - _blocks(trial.race) if trial.race.objective.serial else 0


def unresolved(made: Decision, race: Contest, findings: tuple[Finding, ...]) -> list[str]:
    """The options that the next block has to measure: those of open claims, and what they are compared with."""
    if race.objective.serial:
        return [name for name, runner in race.runners.items() if runner.state != "failed"]
    names = [finding.option for finding in findings if finding.found == "open"]
    relative = any(limit.relative for limit in race.limits)
    beside = [*([made.chosen] if made.chosen else []), *([race.baseline] if relative else [])]
    wanted = {*names, *beside} if names else set()
    return [name for name, runner in race.runners.items() if name in wanted and runner.state != "failed"]


# what is found of each claim


def _constraint(trial: _Trial, name: str, text: str) -> Finding:
    """The chosen option meets a constraint."""
    before = next((check.interval for check in trial.made.standing(name).checks if check.constraint == text), None)
    claim = f"{name} meets '{text}'"
    if gone := _gone(trial, name):
        return Finding(option=name, claim=claim, before=before, now=None, found="away", why=gone)
    check = _check(trial, name, text)
    made = _found(trial, name, claim, before, check.interval, text)
    if check.met is None:
        return made.model_copy(
            update={"found": "open", "against": _missed(trial, check), "more_blocks": check.more_blocks}
        )
    if check.met:
        return made
    return made.model_copy(update={"found": "contradicted", "why": f"{name} breaks '{text}': {_it_is(trial, check)}"})


def _rival(trial: _Trial, chosen: str, name: str) -> Finding:
    """A rival breaks a constraint, or is not better by more than epsilon."""
    race, before = trial.race, trial.made.standing(name).advantage
    claim = f"{name} {'breaks a constraint, or ' if trial.lock.constraints else ''}is no better than {chosen}"
    if gone := _gone(trial, chosen) or _gone(trial, name):
        return Finding(option=name, claim=claim, before=before, now=None, found="away", why=gone)
    lead = Estimate.of(race.advantage(chosen, name))
    made = _found(trial, name, claim, before, lead)
    checks = [_check(trial, name, str(one)) for one in trial.lock.constraints]
    if broken := next((check for check in checks if check.met is False), None):
        return made.model_copy(update={"why": f"it breaks '{broken.constraint}': {_it_is(trial, broken)}"})
    if lead.low is not None and lead.low >= -race.epsilon:
        return made
    others = [one for one in trial.made.tied if one not in (chosen, name) and one in race.runners]
    if name not in trial.made.tied and (by := next((one for one in others if _no_worse(trial, one, name)), None)):
        return made.model_copy(update={"why": f"it is no better than {by}, which tied with {chosen}"})
    if _tied_again(trial, chosen, name, lead):
        return made.model_copy(update={"found": "tied"})
    if lead.high is not None and lead.high < -race.epsilon and all(check.met for check in checks):
        keeps = " meets every constraint and" if checks else ""
        why = f"{name}{keeps} is better than {chosen} in {trial.made.objective} by {_lead(trial, lead, flip=True)}"
        return made.model_copy(update={"found": "contradicted", "why": why})
    return made.model_copy(
        update={
            "found": "open",
            "against": lead.estimate is not None
            and lead.estimate < -race.epsilon
            and not any(_missed(trial, check) for check in checks),
            "more_blocks": _to_tell(trial, chosen, name, checks, lead),
        }
    )


def _no_worse(trial: _Trial, name: str, rival: str) -> bool:
    """Certified to be better than a rival, or worse by epsilon at most."""
    return bool(trial.race.runners[name].blocks) and trial.race.advantage(name, rival).low >= -trial.race.epsilon


def _found(
    trial: _Trial, name: str, claim: str, before: Estimate | None, now: Estimate, constraint: str = ""
) -> Finding:
    """A claim that is certified again, with its figures: what a constraint bounds, or the chosen option's lead."""
    if constraint:
        one, then = _bounded(trial, constraint, now), str(before or "")
    else:
        behind = now.estimate is not None and now.estimate < 0
        one = f"{trial.made.chosen} is {'behind' if behind else 'ahead'} by {_lead(trial, now, behind)}"
        then = _lead(trial, before, behind) if before else ""
    figures = f"{one}, then {then}" if then else one
    return Finding(option=name, claim=claim, before=before, now=now, found="again", figures=figures)


def _tied_again(trial: _Trial, chosen: str, name: str, lead: Estimate) -> bool:
    """Of options that no evidence told apart: again not told apart, on as many blocks."""
    before = trial.made.standing(name).advantage
    told = before is not None and before.low is not None and before.low >= -trial.race.epsilon
    if name not in trial.made.tied or told:
        return False
    enough = len(trial.race.runners[chosen].blocks) >= min(trial.made.blocks, trial.lock.blocks.race)
    return enough and not (lead.high is not None and lead.high < -trial.race.epsilon)


def _excluded(trial: _Trial, name: str) -> Finding:
    """An option breaks a constraint, where every option did."""
    broken = [check for check in trial.made.standing(name).checks if check.met is False]
    claim, before = f"{name} breaks a constraint", broken[0].interval if broken else None
    if gone := _gone(trial, name):
        return Finding(option=name, claim=claim, before=before, now=None, found="away", why=gone)
    checks = [_check(trial, name, str(one)) for one in trial.lock.constraints]
    same = next((check for check in checks if broken and check.constraint == broken[0].constraint), checks[0])
    made = _found(trial, name, claim, before, same.interval, same.constraint)
    if out := next((check for check in checks if check.met is False), None):
        return made.model_copy(
            update={"now": out.interval, "why": f"it breaks '{out.constraint}': {_it_is(trial, out)}"}
        )
    if all(check.met for check in checks):
        return made.model_copy(update={"found": "contradicted", "why": f"{name} meets every constraint"})
    more = [check.more_blocks for check in checks if check.met is None and check.more_blocks]
    against = not any(_missed(trial, check) for check in checks)
    return made.model_copy(update={"found": "open", "against": against, "more_blocks": min(more, default=None)})


# what is said


def _said(trial: _Trial, findings: list[Finding], more: int | None) -> tuple[Status, str]:
    """The status in words; a contradiction comes first, what could not be measured next."""
    made = trial.made
    risk = f"wrong at most {_about(findings)}{100 * made.alpha:.3g}% of the time"
    if left := _unheard(trial):
        return "not settled", f"a series over time is heard to its end, which is {left:,} more blocks away"
    if against := [finding for finding in findings if finding.found == "contradicted"]:
        return "contradicted", f"{'; '.join(finding.why for finding in against)}; {risk}"
    if away := [finding for finding in findings if finding.found == "away"]:
        return "not settled", "; ".join(dict.fromkeys(finding.why for finding in away))
    if open_claims := [finding for finding in findings if finding.found == "open"]:
        return "not settled", _not_settled(trial, open_claims, len(findings), more)
    if made.chosen is None:
        return "holds", f"every option that came close breaks a constraint again; {risk}"
    better = f"better than {made.chosen}{_by_more(trial)} in {made.objective}"
    tied = [finding.option for finding in findings if finding.found == "tied"]
    parts = [f"{made.chosen} meets every constraint again"] if trial.lock.constraints else []
    if trial.race.runners.keys() - {made.chosen, *tied}:
        parts.append(f"no {'other ' if tied else ''}rival{' that may be chosen' if parts else ''} is {better}")
    certified = f"{', and '.join(parts)}; {risk}"
    if not tied:
        return "holds", certified
    again = f"{', '.join(tied)} {'is' if len(tied) == 1 else 'are'} again not told apart from {made.chosen}"
    return "holds", f"{again}; {certified}" if parts else again


def _not_settled(trial: _Trial, claims: list[Finding], of: int, more: int | None) -> str:
    against = any(claim.against for claim in claims)
    so_far = "speaks against this so far" if against else "agrees so far, but is too little to certify"
    named = [claim.claim for claim in claims if claim.against] or [claim.claim for claim in claims]
    text = f"the new evidence {so_far}: {'; '.join(named[:3])} ({of - len(claims)} of {of} claims are certified again)"
    left = trial.lock.blocks.race - _blocks(trial.race)
    if more is None:
        return f"{text}; no number of blocks can be named that would settle it"
    have = "" if more <= left else f", and the task has {f'only {left:,}' if left else 'no'} more"
    return f"{text}; about {more:,} more {'block' if more == 1 else 'blocks'} would settle it{have}"


def _by_more(trial: _Trial) -> str:
    """Epsilon in words."""
    return f" by more than {trial.lock.indifference}" if trial.lock.epsilon else ""


def _about(findings: list[Finding]) -> str:
    """'about' where a bound is asymptotic."""
    return "" if all(one.now is None or one.now.exact for one in findings) else "about "


# one option in the race


def _gone(trial: _Trial, name: str) -> str:
    """Why an option could not be measured; empty where it was."""
    runner = trial.race.runners[name]
    if runner.state == "failed":
        return f"{name} could not be measured ({runner.reason})"
    if trial.race.without_baseline():
        return f"{trial.lock.baseline}, which constraints refer to, could not be measured"
    return "" if runner.blocks else f"{name} was not measured yet"


def _check(trial: _Trial, name: str, text: str) -> Check:
    return Check.of(trial.race, name, next(one for one in trial.lock.constraints if str(one) == text))


def _missed(trial: _Trial, check: Check) -> bool:
    """Whether the estimate lies beyond the bound."""
    limit = next(one for one in trial.lock.constraints if str(one) == check.constraint).limit()
    return check.interval.estimate is not None and limit.missed(check.interval.estimate)


def _to_tell(trial: _Trial, chosen: str, name: str, checks: list[Check], lead: Estimate) -> int | None:
    """Blocks until a rival is known to break a constraint or to be no better; to be better and to meet all of them."""
    parted = trial.race.blocks_to_separate(chosen, name)
    out = [check.more_blocks for check in checks if check.met is None and _missed(trial, check)]
    if out or lead.estimate is None or lead.estimate >= -trial.race.epsilon:
        return min((want for want in (parted, *out) if want is not None), default=None)
    wants = [parted, *(check.more_blocks for check in checks if check.met is None)]
    return None if None in wants else max(want for want in wants if want is not None)


def _it_is(trial: _Trial, check: Check) -> str:
    one = next(constraint for constraint in trial.lock.constraints if str(constraint) == check.constraint)
    what = {"": "it is", "difference": "the difference is", "ratio": "the ratio is"}[one.relative]
    return f"{what} {_bounded(trial, check.constraint, check.interval)}"


def _bounded(trial: _Trial, text: str, value: Estimate) -> str:
    """What a constraint bounds, with its unit."""
    one = next(constraint for constraint in trial.lock.constraints if str(constraint) == text)
    return str(value) if one.relative == "ratio" else with_unit(str(value), trial.lock.measure(one.measure).unit)


def _lead(trial: _Trial, value: Estimate, flip: bool = False) -> str:
    """How far the chosen option is ahead; how far it is behind with `flip`."""
    found = (value.estimate, value.low, value.high)
    if flip:
        found = (_less(value.estimate), _less(value.high), _less(value.low))
    percent = trial.race.objective.compared_by_ratio
    text = ends(*found, percent)
    return text if percent else with_unit(text, trial.lock.measure(trial.made.objective).unit)


def _less(value: float | None) -> float | None:
    return None if value is None else -value
