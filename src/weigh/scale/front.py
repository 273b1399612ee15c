"""The front: which options no other beats on every measure at once, found block by block under a stated error rate.

What is claimed, and the chance at most that any such claim is ever wrong, whenever one looks and stops:

- *dominated*: another option is as good in every measure, and better in one. Wrong of any that is not: alpha.
- *on the front*: no other is better in every measure, by more than epsilon in those that are measured with error. Wrong
  of any: alpha, beyond that of the first claim, since the dominated are not looked at again.
- all intervals of all options at once (`Front.level`, `Front.versus`): one that leaves out the truth: alpha.

A claim of the first kind rests on bets that a rival is better, for each of its measures; options are claimed by Holm's
procedure, which holds for running maxima of wealth since wealth against what is true ever reaches k / alpha with a
chance of at most alpha / k. Of the stake on one option a part is spread over all its rivals from the start, and the
rest is put, in halves, on the rival that leads after 2, 4, 8, ... blocks, from there on.

Source: Auer et al., Pareto front identification from stochastic bandit feedback, AISTATS 2016; the relaxed front, and
what may stop being measured, after Kone, Kaufmann and Richert, NeurIPS 2023 (arXiv 2307.00424); Vovk and Wang,
E-values, Annals of Statistics 2021 (arXiv 1912.06116), for Holm's procedure with e-values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from weigh.scale.gauge import Gauge
from weigh.scale.interval import Interval, checked_alpha
from weigh.scale.risk import Claim
from weigh.scale.series import Account
from weigh.scale.tracks import Relative, Subject, Tracks, Values

Place: TypeAlias = Literal["open", "front", "dominated", "failed"]

_SPREAD = 0.3
"""The part of the stake on an option that is spread over all its rivals at the start."""
_BACKED = 6
"""How often the leading rival is backed: each time with half of what is left."""
_FEWEST = 64
"""Values that every option has before a rival is backed, or an option given up."""
_HOPE = 1.0
"""Standard errors of optimism before an option is given up as out of reach."""


class Front:
    """Options and measures, and where each option stands.

    Args:
        options: names.
        baseline: what `versus` refers to; it is among the options.
        gauges: the measures. Without a random one all is known at once; a `quantile` or a serial one is refused.
        alpha: the chance of a wrong claim of each kind, at most.
        epsilon: by gauge, what does not matter (relative for times): 0 where it is not given, and always for exact
            gauges. With 0 an option whose twin is among them never gets on the front.
        blocks: how many there are; None for no end. What cannot be settled within them is given up.
        room: measurements (options x blocks) that may be made in all; None for no limit.

    Raises:
        ValueError: nothing can be judged so; the message says what to state instead.

    >>> gauges = Gauge("size", "exact", "lower"), Gauge("right", "mean", "higher")
    >>> front = Front(("small", "large", "poor"), "large", gauges, alpha=0.05, epsilon={"right": 0.1})
    >>> front.know({"small": {"size": 1.0}, "large": {"size": 4.0}, "poor": {"size": 2.0}})
    >>> right = {"small": [1, 1, 1, 0] * 50, "large": [1, 1, 1, 1] * 50, "poor": [0, 1, 1, 0] * 50}
    >>> front.add(0, {name: {"right": values} for name, values in right.items()})
    >>> front.judge()
    >>> front.places(), front.by("poor"), front.wanted()
    ({'small': 'front', 'large': 'front', 'poor': 'dominated'}, 'small', [])
    """

    def __init__(
        self,
        options: Sequence[str],
        baseline: str,
        gauges: Sequence[Gauge],
        alpha: float,
        epsilon: Mapping[str, float] | None = None,
        *,
        blocks: int | None = None,
        room: int | None = None,
    ) -> None:
        self.alpha, self.baseline = checked_alpha(alpha), baseline
        self.gauges = {gauge.name: gauge for gauge in gauges}
        self.epsilon = dict(epsilon or {})
        self._check(options)
        random = [gauge for gauge in gauges if gauge.kind != "exact"]
        self._random = tuple(sorted(random, key=lambda gauge: gauge.kind != "mean"))  # what is read quickly comes first
        self._values = {name: Values([], {}) for name in options}
        self._sums: dict[tuple[str, str], tuple[int, float]] = {}
        self._tracks = Tracks(self._values, self.gauges)
        self._places: dict[str, Place] = dict.fromkeys(options, "open")
        self._by: dict[str, str] = {}
        self._claims: dict[tuple[str, str, str, bool], Claim] = {}
        self._cleared: set[tuple[str, str]] = set()
        self._rivals: dict[str, list[str]] = {}
        self._backings: dict[str, int] = {}
        self._hopeless: set[str] = set()
        self._blocks, self._room = blocks, room
        self.measurements = 0

    def _check(self, options: Sequence[str]) -> None:
        if self.baseline not in options or len(set(options)) < len(options):
            raise ValueError(f"the baseline {self.baseline!r} must be one of {list(options)}, each of them named once")
        for gauge in self.gauges.values():
            if gauge.serial or gauge.kind == "quantile":
                raise ValueError(f"{gauge.name}: quantiles and series over time are not bet on in pairs; leave it out")
        for name, value in self.epsilon.items():
            if name not in self.gauges or not value >= 0:
                raise ValueError(f"epsilon of {name!r} is {value!r}; state what does not matter, 0 or more, by gauge")

    # what happened

    def know(self, exact: Mapping[str, Mapping[str, float]]) -> None:
        """What exact gauges give, by option and gauge; `add` may give it as well."""
        for option, values in exact.items():
            for gauge, number in values.items():
                self._values[option].by_gauge[gauge] = [np.array([number], dtype=np.float64)]

    def add(self, block: int, measured: Mapping[str, Mapping[str, ArrayLike]]) -> None:
        """One block's values, by option and gauge; of each option blocks come in order.

        Raises:
            ValueError: an option was measured on this block, or on a later one, before; nothing is taken.
        """
        for option in measured:
            if (known := self._values[option].blocks) and block <= known[-1]:
                raise ValueError(f"{option} has values up to block {known[-1]}, block {block} among them or missed")
        self.measurements += len(measured)
        for option, values in measured.items():
            self._values[option].blocks.append(block)
            for gauge, numbers in values.items():
                array = np.atleast_1d(np.asarray(numbers, dtype=np.float64))
                self._values[option].by_gauge.setdefault(gauge, []).append(array)
                n, total = self._sums.get((option, gauge), (0, 0.0))
                self._sums[option, gauge] = n + array.size, total + float(array.sum())

    def fail(self, option: str) -> None:
        """The option could not be measured: it is left out, and what it alone dominated comes back."""
        self._places[option] = "failed"
        for name, by in list(self._by.items()):
            if by == option:
                self._places[name] = "open"
                del self._by[name]

    # what it means

    def places(self) -> dict[str, Place]:
        """Where each option stands: `open` is what the evidence has not settled yet."""
        return dict(self._places)

    def by(self, option: str) -> str:
        """What dominates an option, and is not dominated itself."""
        while option in self._by:
            option = self._by[option]
        return option

    def left(self) -> list[str]:
        """Options that are not dominated as far as is certified: the front lies within."""
        return [name for name, place in self._places.items() if place in ("open", "front")]

    def wanted(self) -> list[str]:
        """Options that the next block must measure: those that are open and the rivals that keep them so."""
        able = [name for name, place in self._places.items() if place == "open" and name not in self._hopeless]
        asked = set(able)
        for name in able:
            asked |= {rival for rival in self._against(name) if (name, rival) not in self._cleared}
        spent = self._room is not None and self.measurements + len(asked) > self._room
        over = self._blocks is not None and max(len(v.blocks) for v in self._values.values()) >= self._blocks
        return [] if spent or over else [name for name in self._places if name in asked]

    def judge(self) -> None:
        """Settle what the evidence so far settles; may be called after each block, or less often."""
        self._dominate()
        self._clear()
        for name in [name for name, place in self._places.items() if place == "open"]:
            self._back(name)

    def _dominate(self) -> None:
        """Holm's procedure: whoever is claimed leaves, and those left need less."""
        again = True
        while again:
            again = False
            enough = math.log(sum(place != "dominated" for place in self._places.values()) / self.alpha)
            for name in [name for name, place in self._places.items() if place == "open"]:
                for rival in self._all_rivals(name):
                    if self._places[rival] != "failed" and self._beats(rival, name, enough):
                        self._places[name], self._by[name], again = "dominated", rival, True
                        break

    def _clear(self) -> None:
        """Options that no rival which is left beats by more than epsilon."""
        enough = math.log(len(self._places) * max(len(self._random), 1) / self.alpha)
        for name in [name for name, place in self._places.items() if place == "open"]:
            left = [rival for rival in self._against(name) if (name, rival) not in self._cleared]
            for rival in left:
                looks = [claim.look(self._tracks) for claim in self._holds(name, rival)]
                if max(looks, default=-math.inf) >= enough:
                    self._cleared.add((name, rival))
            if self._values[name].by_gauge and all((name, rival) in self._cleared for rival in left):
                self._places[name] = "front"

    def _all_rivals(self, name: str) -> list[str]:
        """Options that are as good in every exact measure; those without values yet are none."""
        if name not in self._rivals:
            mine, complete = self._costs(name), all(values.by_gauge for values in self._values.values())
            rivals = [
                other
                for other in self._places
                if other != name and all(a <= b for a, b in zip(self._costs(other), mine, strict=True))
            ]
            if not complete:
                return rivals
            self._rivals[name] = rivals
        return self._rivals[name]

    def _against(self, name: str) -> list[str]:
        """Rivals that are left."""
        return [rival for rival in self._all_rivals(name) if self._places[rival] in ("open", "front")]

    def _costs(self, name: str) -> list[float]:
        """Exact measures, so that less is better; NaN before they are known."""
        found = []
        for gauge in self.gauges.values():
            if gauge.kind == "exact":
                arrays = self._values[name].by_gauge.get(gauge.name)
                value = float(arrays[0][0]) if arrays else math.nan
                found.append(value if gauge.better == "lower" else -value)
        return found

    def _beats(self, rival: str, name: str, enough: float) -> bool:
        """Enough evidence that a rival is as good in every random measure, and better in any.

        One that is behind in a mean has no new evidence there, and is not looked at: an earlier claim was made then.
        """
        better = self._costs(rival) != self._costs(name)
        if not self._random:
            return better
        if self._is_behind(rival, name):
            return False
        return all(self._claim(rival, name, gauge, better).look(self._tracks) >= enough for gauge in self._random)

    def _is_behind(self, rival: str, name: str) -> bool:
        return any(self._behind(rival, name, gauge) for gauge in self._random if gauge.kind == "mean")

    def _behind(self, rival: str, name: str, gauge: Gauge) -> bool:
        """Going by the means of all that was measured of either."""
        (n, total), (m, other) = (self._sums.get((one, gauge.name), (0, 0.0)) for one in (rival, name))
        lead = total / max(n, 1) - other / max(m, 1)
        return (lead if gauge.better == "higher" else -lead) <= 0 < min(n, m) and not self._complete(name, gauge)

    def _complete(self, name: str, gauge: Gauge) -> bool:
        """All of a finite population was seen: being equal is then known, and enough."""
        return gauge.population is not None and self._sums.get((name, gauge.name), (0, 0.0))[0] >= gauge.population

    def _claim(self, rival: str, name: str, gauge: Gauge, met: bool) -> Claim:
        """That the rival is better than the option in one measure."""
        key = (rival, name, gauge.name, True)
        if key not in self._claims:
            stake = [Account(_SPREAD / max(len(self._all_rivals(name)), 1))]
            self._claims[key] = Claim(_pair(rival, name, gauge), _neutral(gauge, 0.0), _side(gauge), stake, met)
        return self._claims[key]

    def _holds(self, name: str, rival: str) -> list[Claim]:
        """That the option is not worse than the rival by more than epsilon, for each random measure."""
        made = []
        for gauge in self._random:
            key = (name, rival, gauge.name, False)
            if key not in self._claims:
                bound = _neutral(gauge, -self.epsilon.get(gauge.name, 0.0))
                self._claims[key] = Claim(_pair(name, rival, gauge), bound, _side(gauge), [Account(1.0)], True)
            made.append(self._claims[key])
        return made

    def _back(self, name: str) -> None:
        """After 2, 4, 8, ... blocks: put half of what is left on the rival that leads, or give the option up."""
        done, blocks = self._backings.get(name, 0), len(self._values[name].blocks)
        if blocks < 2 ** (done + 1) or not self._random or self._fewest(name) < _FEWEST:
            return
        self._backings[name] = done + 1
        ahead = [rival for rival in self._against(name) if not self._is_behind(rival, name)]
        needs = {rival: self._needs(rival, name) for rival in ahead}
        leader = min(needs, key=lambda rival: needs[rival], default=None)
        if leader is not None and needs[leader] < math.inf and done < _BACKED:
            for gauge in self._random:
                claim = self._claim(leader, name, gauge, met=self._costs(leader) != self._costs(name))
                claim.open(self._tracks, (1.0 - _SPREAD) * 0.5 ** (done + 1))
        if self._blocks is not None and self._out_of_reach(name, self._blocks - blocks):
            self._hopeless.add(name)

    def _fewest(self, name: str) -> int:
        arrays = [self._values[name].by_gauge.get(gauge.name, []) for gauge in self._random]
        return min(sum(array.size for array in one) for one in arrays)

    def _needs(self, rival: str, name: str, hope: float = 0.0) -> float:
        """About how many more blocks until a rival is certified to dominate."""
        enough = math.log(len(self._places) / self.alpha)
        met = self._costs(rival) != self._costs(name)
        claims = [self._claim(rival, name, gauge, met) for gauge in self._random]
        return max(self._in_blocks(claim, name, claim.needed(self._tracks, enough, hope)) for claim in claims)

    def _in_blocks(self, claim: Claim, name: str, values: float) -> float:
        return values * len(self._values[name].blocks) / max(self._tracks.view(claim.subject).series.n, 1)

    def _out_of_reach(self, name: str, left: int) -> bool:
        """Neither claim can be made of it in the blocks that are left, even if things go well."""
        rivals = [rival for rival in self._against(name) if (name, rival) not in self._cleared]
        if any(self._needs(rival, name, _HOPE) <= left for rival in rivals):
            return False
        enough = math.log(len(self._places) * len(self._random) / self.alpha)
        for rival in rivals:
            claims = self._holds(name, rival)
            if min(self._in_blocks(one, name, one.needed(self._tracks, enough, _HOPE)) for one in claims) > left:
                return True
        return False

    # intervals

    def level(self, option: str, gauge: str) -> Interval:
        """The value of an option; times of a shared machine are better read by `versus`."""
        return self._tracks.interval(Subject(option, gauge), self._each)

    def versus(self, option: str, gauge: str) -> Interval:
        """Difference (means, exact) or ratio (times) to the baseline, paired block by block."""
        relative: Relative = "ratio" if self.gauges[gauge].compared_by_ratio else "difference"
        return self._tracks.interval(Subject(option, gauge, relative, self.baseline), self._each)

    @property
    def _each(self) -> float:
        """What each of the intervals may miss, so that all hold at once: a level and a comparison an option."""
        return self.alpha / (2 * len(self._places) * max(len(self._random), 1))


def _pair(name: str, rival: str, gauge: Gauge) -> Subject:
    return Subject(name, gauge.name, "ratio" if gauge.compared_by_ratio else "difference", rival)


def _neutral(gauge: Gauge, gain: float) -> float:
    """The difference or ratio at which so much is gained."""
    signed = gain if gauge.better == "higher" else -gain
    return 1.0 + signed if gauge.compared_by_ratio else signed


def _side(gauge: Gauge) -> int:
    """The side on which what is better lies."""
    return 0 if gauge.better == "higher" else 1
