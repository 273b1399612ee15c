"""The claims that a verdict rests on, each with its interval and how near its bound that lies. Pure."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from weigh.constraint import Constraint
from weigh.decision import Check, Decision, Estimate, Lock, Standing
from weigh.scale.halving import Contest


class Ground(NamedTuple):
    """One claim: a number, known as an interval, lies on one side of a bound.

    Attributes:
        option: whom it is about.
        kind: the option `meets` or `breaks` a constraint, or is `ahead` of a rival, or `within` epsilon of it.
        interval: of what the constraint bounds, or of the option's lead over its rival in the objective.
        above: on which side of `bound` the interval has to lie.
    """

    option: str
    kind: Literal["meets", "breaks", "ahead", "within"]
    interval: Estimate
    bound: float
    above: bool
    constraint: Constraint | None = None
    rival: str = ""

    @property
    def certain(self) -> bool:
        """Known without error."""
        return self.interval.low is not None and self.interval.low == self.interval.high

    @property
    def gap(self) -> float:
        """From the estimate to the bound; negative where the estimate speaks against the claim."""
        middle = math.nan if self.interval.estimate is None else self.interval.estimate
        return middle - self.bound if self.above else self.bound - middle

    @property
    def margin(self) -> float:
        """From the end of the interval to the bound: what is left, at the least; negative where it is not certified."""
        end = self.interval.low if self.above else self.interval.high
        if end is None:
            return -math.inf
        return end - self.bound if self.above else self.bound - end

    @property
    def slack(self) -> float:
        """How many times as wide the interval could be until the claim is no longer certified; infinite if certain."""
        half = self.gap - self.margin
        if self.certain or half <= 0:
            return math.inf if self.gap >= 0 else 0.0
        return max(self.gap, 0.0) / half


def grounds(lock: Lock, made: Decision, race: Contest) -> list[Ground]:
    """The claims behind a verdict, the closest call first; `race` is the race as it ended."""
    found: list[Ground] = []
    for standing in made.standings:
        if standing.option == made.chosen:
            found += [_met(lock, standing.option, check) for check in standing.checks if check.met]
        else:
            found += _out(lock, made, race, standing)
    return sorted(found, key=_slack)


def _slack(ground: Ground) -> float:
    return ground.slack


def _ahead(lock: Lock, race: Contest, name: str, rival: str) -> Ground:
    """Whoever was certified to be better; where that was known only within epsilon, no worse than that."""
    lead = Estimate.of(race.advantage(name, rival))
    floor = 0.0 if lead.low is not None and lead.low > 0 else -lock.epsilon
    return Ground(name, "ahead", lead, floor, True, rival=rival)


def limit_ground(lock: Lock, option: str, check: Check, kind: Literal["meets", "breaks"]) -> Ground:
    """The claim that an option meets a constraint, or breaks it."""
    constraint = next(one for one in lock.constraints if str(one) == check.constraint)
    above = (constraint.op == ">=") == (kind == "meets")
    return Ground(option, kind, check.interval, constraint.bound, above, constraint)


def _met(lock: Lock, option: str, check: Check) -> Ground:
    return limit_ground(lock, option, check, "meets")


def _out(lock: Lock, made: Decision, race: Contest, standing: Standing) -> list[Ground]:
    """Why an option is not the one."""
    if standing.outcome == "violates":
        broken = [check for check in standing.checks if check.met is False]
        return [limit_ground(lock, standing.option, check, "breaks") for check in broken[:1]]
    if standing.outcome == "dominated":
        beside = {race.runners[standing.option].by, made.chosen} - {"", None}
        return [max((_ahead(lock, race, str(by), standing.option) for by in sorted(map(str, beside))), key=_slack)]
    if standing.outcome == "tied" and standing.advantage is not None and made.chosen:
        told = Ground(made.chosen, "within", standing.advantage, -lock.epsilon, True, rival=standing.option)
        return [told] if told.margin >= 0 else []
    return []
