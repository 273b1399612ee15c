"""How a race spends its error rate: on certifying limits, on rejecting options, on calling one better than another."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from weigh.scale.gauge import Limit
from weigh.scale.interval import Interval
from weigh.scale.series import Account
from weigh.scale.tracks import Subject, Tracks

_SPREAD = 0.2
"""The part of the error rate that is spread over all options at the start; the rest is kept for those that the first
values speak for."""
_SHARE = 0.5
"""The part of what is kept that the next option gets."""
_FEW = 3
"""With no more options than this all of it is spread at the start."""
_BACKING, _BACKED = 0.75, 6
"""The part of an error rate that leaders are backed with, and how many: a seventh would get less than a hundredth."""

_CERTAIN, _SLACK = 700.0, 1e-9
"""Log of the evidence of what is known, and what rounding may add to a mean."""


class Shares(NamedTuple):
    """Parts of alpha: a violator is shipped, the best is rejected as a violator, the best is called worse."""

    ship: float
    reject: float
    beat: float

    @classmethod
    def of(cls, random_limits: int, random_objective: bool) -> Shares:
        """Rejecting and calling worse matter for the best option only; shipping for every violator."""
        if not random_limits:
            return cls(0.0, 0.0, 1.0)
        return cls(0.4, 0.1, 0.5) if random_objective else cls(0.8, 0.2, 0.0)


@dataclass(slots=True)
class Purse:
    """An error rate of 1 in parts: some spread over all who may claim, the rest for those whom the data favour.

    The line is drawn once, when all have been looked at alike, and only later values count for it. The first in line
    gets the largest part. Whoever is certified leaves it and those behind move up: a graphical procedure, so that the
    chance of any false claim is at most 1 times alpha, whatever the number of claimants and however many are certified
    (Bretz et al., 2009; fixed-sequence testing of Learn then Test, arXiv 2110.01052, is the line with one part). What a
    claimant has depends only on who was certified, so the order in which blocks were measured does not matter.

    Args:
        claimants: how many there are.
    """

    claimants: int
    line: tuple[str, ...] | None = None

    @property
    def keeps(self) -> bool:
        """Whether part of it is kept back; of a few claimants each has an equal part from the start."""
        return self.claimants > _FEW

    @property
    def start(self) -> float:
        """What each claimant has from the first value on."""
        return (_SPREAD if self.keeps else 1.0) / max(self.claimants, 1)

    def backing(self, leaders: int) -> float:
        """What a leader gets that was not one before, after so many others: each half of what the last one got."""
        return _BACKING * 0.5 ** (leaders + 1) if self.keeps and leaders < _BACKED else 0.0

    def draw(self, names: Sequence[str]) -> tuple[str, ...]:
        """Draw the line, once."""
        if self.line is None:
            self.line = tuple(names) if self.keeps else ()
        return self.line

    def part(self, name: str, certified: Container[str]) -> float:
        """What one in the line has, now that others are certified."""
        if self.line is None or name not in self.line:
            return 0.0
        before = sum(one not in certified for one in self.line[: self.line.index(name)])
        return (1.0 - _SPREAD) * _SHARE * (1.0 - _SHARE) ** before


@dataclass(slots=True)
class Claim:
    """That a subject lies above (side 0) or below (side 1) a bound; the most that each account ever held.

    `met` says that lying on the bound is enough, which matters once all of a finite population is known.
    """

    subject: Subject
    bound: float
    side: int
    accounts: list[Account]
    met: bool = False
    tops: list[float] = field(default_factory=list)
    seen: int = -1

    def look(self, tracks: Tracks) -> float:
        """Log of the evidence; certain claims stay certain."""
        view = tracks.view(self.subject)
        if view.series.n != self.seen:
            self.seen = view.series.n
            self.tops += [0.0] * (len(self.accounts) - len(self.tops))
            bound, side = view.bound(self.bound), view.side(self.side)
            if view.series.known():
                beyond = (view.series.estimate() - bound) * (1 if side == 0 else -1)
                self.tops = [_CERTAIN if beyond > (-_SLACK if self.met else _SLACK) else 0.0] * len(self.accounts)
            elif view.series.n and view.series.gap(bound, side)[0] > 0:  # a mean on the other side adds nothing
                for place, account in enumerate(self.accounts):
                    self.tops[place] = max(self.tops[place], view.series.wealth(bound, side, account))
        held = (top + math.log(one.weight) for top, one in zip(self.tops, self.accounts) if one.weight > 0)
        return max(held, default=-math.inf)

    def open(self, tracks: Tracks, weight: float) -> None:
        """Bet a further part from here on."""
        view = tracks.view(self.subject)
        self.accounts.append(view.series.open(view.bound(self.bound), view.side(self.side), weight))

    def weigh(self, weight: float) -> None:
        """What the last account has, now that others are certified."""
        self.accounts[-1] = self.accounts[-1]._replace(weight=weight)

    def needed(self, tracks: Tracks, enough: float, hope: float = 0.0) -> float:
        """About how many more values it takes; `hope` standard errors of optimism."""
        view = tracks.view(self.subject)
        bound, side = view.bound(self.bound), view.side(self.side)
        held = view.series.evidence(bound, side, self.accounts)
        held = max(held, max(math.log(one.weight) for one in self.accounts if one.weight > 0))
        return view.series.needed(bound, side, enough - held, hope)

    def likely(self, tracks: Tracks) -> float:
        """A rough chance that it is true, for planning only."""
        view = tracks.view(self.subject)
        return view.series.likely(view.bound(self.bound), view.side(self.side))


def clipped(interval: Interval, limit: Limit, met: bool, broken: bool) -> Interval:
    """An interval that does not contradict what was certified of the bound: both come from the same bets."""
    below = met if limit.op == "<=" else broken
    above = broken if limit.op == "<=" else met
    low = max(interval.low, limit.bound) if above else interval.low
    high = min(interval.high, limit.bound) if below else interval.high
    if above and low == limit.bound and limit.op == "<=":
        low = math.nextafter(low, math.inf)
    if below and high == limit.bound and limit.op == ">=":
        high = math.nextafter(high, -math.inf)
    low, high = min(low, high), max(low, high)
    return replace(interval, low=low, high=high, estimate=min(max(interval.estimate, low), high))
