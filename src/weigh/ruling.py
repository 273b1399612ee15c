"""What a race says, without words: which option, at which verdict, and how much more would settle it. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from weigh.decision import Lock, Verdict
from weigh.scale.gauge import Limit
from weigh.scale.halving import Contest


class Ruling(NamedTuple):
    """A verdict, the option to take, those that tie with it, and those that may yet be better."""

    verdict: Verdict
    chosen: str | None = None
    tied: Sequence[str] = ()
    rivals: Sequence[str] = ()


def rule(lock: Lock, race: Contest) -> Ruling:
    """Options tie when they are certified to lie within epsilon, or when all blocks of the task do not part them.

    Blocks so few that nothing is known of how far options lie apart make no tie.
    """
    live = race.live()
    feasible = [name for name in live if race.feasible(name)]
    if not live:
        return Ruling("none")
    if feasible == live:
        circle = _circle(race, live[0]) if len(live) == 1 else []
        if len(live) == 1:
            return Ruling("undecided", live[0], rivals=circle) if circle else Ruling("chosen", live[0])
        if race.equivalent(live) or (blocks_left(lock, race) == 0 and race.bounded(live)):
            return Ruling("tie", _cheapest(lock, race, live), tied=tuple(live))
    leader = min(feasible, key=race.rank) if feasible else None
    return Ruling("undecided", leader, rivals=[name for name in live if name != leader])


def _circle(race: Contest, winner: str) -> list[str]:
    """What was dropped and yet beats the winner: paired medians of times may go in a circle."""
    if race.objective.kind != "time":
        return []
    gone = [name for name, runner in race.runners.items() if runner.state == "dominated"]
    return [name for name in gone if race.feasible(name) and race.beats(name, winner)]


def blocks_left(lock: Lock, race: Contest) -> int:
    """Blocks of the task that come after the last one that the race used or passed over."""
    used = (block for runner in race.runners.values() for block in runner.blocks)
    return lock.blocks.race - max(used, default=-1) - 1


def _cheapest(lock: Lock, race: Contest, names: Sequence[str]) -> str:
    """Of tied options the one that costs least by the choice's cost measure; the baseline where costs are equal."""
    measure = lock.measure(lock.cost)
    sign = 1.0 if measure.better == "lower" else -1.0

    def cost(name: str) -> tuple[float, bool, int]:
        estimate = race.level(name, lock.cost).estimate
        return (sign * estimate if math.isfinite(estimate) else math.inf, name != lock.baseline, names.index(name))

    return min(names, key=cost)


def more_blocks(lock: Lock, race: Contest, ruling: Ruling) -> int | None:
    """About how many more blocks would settle it: the leader's limits, and each rival in the quickest way."""
    if ruling.verdict in ("chosen", "none") or (ruling.verdict == "tie" and race.equivalent(ruling.tied)):
        return None
    leader = ruling.chosen or min(race.live(), key=race.rank)
    wants = [race.blocks_to_settle(leader, limit) for limit in _open(lock, race, leader)]
    wants += [_to_part(lock, race, leader, name) for name in race.live() if name != leader]
    known = [want for want in wants if want is not None]
    return max(known) if known and len(known) == len(wants) else None


def _open(lock: Lock, race: Contest, name: str) -> list[Limit]:
    """The limits that an option is not certified to meet."""
    limits = [constraint.limit() for constraint in lock.constraints]
    return [limit for limit in limits if not limit.met(race.limit_interval(name, limit))]


def _to_part(lock: Lock, race: Contest, leader: str, name: str) -> int | None:
    """Blocks until a rival is beaten, found to break a limit, or known to meet all and be as good or better."""
    unmet = {limit: race.limit_interval(name, limit) for limit in _open(lock, race, name)}
    ways = [race.blocks_to_settle(name, limit) for limit, now in unmet.items() if limit.missed(now.estimate)]
    parted = race.blocks_to_separate(leader, name)
    if ways or race.advantage(leader, name).estimate > 0:
        return min((way for way in (*ways, parted) if way is not None), default=None)
    needed = [parted, *(race.blocks_to_settle(name, limit) for limit in unmet)]
    return None if None in needed else max(way for way in needed if way is not None)
