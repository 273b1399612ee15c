"""Which assumption, if it failed, would change an answer: computed from its evidence, not told. Pure.

Some are found by judging the evidence again under another lock (the risk, epsilon, a constraint left out) or without a
block; the others from the values by block of each claim that the verdict rests on (`weigh.grounds`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

from weigh.choice import Measure
from weigh.constraint import Constraint
from weigh.decision import Decision, Estimate, Lock, by_block, judge
from weigh.evidence import Evidence
from weigh.grounds import Ground

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.float64]

_FEWEST = 8
"""Blocks below which neither neighbours nor halves say anything."""
_SHUFFLES = 40
"""Orders of the same values that say what chance makes of them."""
_LOOKED_AT = 3
"""Of how many claims, the closest calls, neighbours are looked at."""


Effect = Literal["another answer", "no longer certain", "the same answer"]


class Probe(NamedTuple):
    """One assumption, made to fail; what becomes of the answer; and the figures."""

    what: str
    effect: Effect
    found: str = ""


class Price(NamedTuple):
    """What leaving out constraints would bring: the option then chosen or leading, and its lead over the chosen one."""

    option: str | None
    verdict: str
    lead: Estimate | None


def price(lock: Lock, rows: Sequence[Evidence], made: Decision, without: Sequence[Constraint]) -> Price:
    """The answer on the same evidence if some constraints had not been asked for."""
    left = tuple(one for one in lock.constraints if one not in without)
    other = judge(lock.model_copy(update={"constraints": left}), rows)
    lead = None
    if other.chosen and made.chosen and other.chosen != made.chosen:
        lead = other.standing(made.chosen).advantage
    return Price(other.chosen, other.verdict, lead)


def probes(lock: Lock, rows: Sequence[Evidence], made: Decision, grounds: Sequence[Ground]) -> list[Probe]:
    """Every assumption that can be made to fail here, those first that would change the answer."""
    if made.verdict == "undecided" and made.chosen is None:
        return [_risk(lock, rows, made)]
    random = [ground for ground in grounds if not ground.certain]
    found = [_risk(lock, rows, made), *_tolerance(lock, rows, made), *_bounds(lock, made)]
    if random:
        found += [*_dependence(lock, rows, random), *_halves(lock, rows, random)]
        found += _outliers(lock, rows, made, random[0])
    return sorted(found, key=lambda probe: get_args(Effect).index(probe.effect))


# judged again


def _risk(lock: Lock, rows: Sequence[Evidence], made: Decision) -> Probe:
    """A tenth of the risk; ten times of it where the evidence did not suffice."""
    alpha = min(10 * lock.alpha, 0.3) if made.verdict == "undecided" else lock.alpha / 10
    what = f"the risk were {100 * alpha:.3g}%, not {100 * lock.alpha:.3g}%"
    return _judged(lock.model_copy(update={"alpha": alpha}), rows, made, what)


def _tolerance(lock: Lock, rows: Sequence[Evidence], made: Decision) -> list[Probe]:
    if not lock.epsilon:
        return []
    percent = lock.measure(lock.objective).compared_by_ratio
    found = []
    for epsilon in (0.0, 2 * lock.epsilon):
        text = f"{100 * epsilon:.3g}%" if percent else f"{epsilon:g}"
        what = (
            f"differences in {lock.objective} up to {text} did not matter" if epsilon else "every difference mattered"
        )
        found.append(_judged(lock.model_copy(update={"epsilon": epsilon}), rows, made, what))
    return found


def _judged(other: Lock, rows: Sequence[Evidence], made: Decision, what: str) -> Probe:
    """What the same evidence says under another lock."""
    return Probe(what, *_effect(judge(other, rows), made))


def _effect(now: Decision, made: Decision) -> tuple[Effect, str]:
    """What became of an answer, and what it is now."""
    if _same(now, made):
        return "the same answer", ""
    if now.verdict == "undecided" and made.verdict != "undecided":
        return "no longer certain", briefly(now)
    return "another answer", briefly(now)


def _same(one: Decision, other: Decision) -> bool:
    return (one.verdict, one.chosen, set(one.tied)) == (other.verdict, other.chosen, set(other.tied))


def briefly(made: Decision) -> str:
    """A verdict in a few words."""
    if made.verdict == "tie":
        return f"a tie of {', '.join(sorted(made.tied))}"
    if made.verdict == "chosen":
        return f"{made.chosen} is chosen"
    if made.verdict == "none":
        return "no option meets every constraint"
    leads = f" ({made.chosen} leads)" if made.chosen else ""
    more = f"; about {made.more_blocks:,} more block{'s' * (made.more_blocks > 1)} would do" if made.more_blocks else ""
    return f"not enough evidence{leads}{more}"


def _bounds(lock: Lock, made: Decision) -> list[Probe]:
    """The tightest bound that the chosen option is still certified to meet."""
    found = []
    for check in made.standing(made.chosen).checks if made.chosen else ():
        one = next(constraint for constraint in lock.constraints if str(constraint) == check.constraint)
        end = check.interval.high if one.op == "<=" else check.interval.low
        trivial = bool(one.relative) and made.chosen == lock.baseline
        if check.met and end is not None and not trivial:
            tightest = one.model_copy(update={"bound": _outward(end, one)})
            what = f"'{one}' were tightened beyond '{tightest}'"
            effect: Effect = "another answer" if check.interval.low == check.interval.high else "no longer certain"
            found.append(Probe(what, effect, f"{made.chosen} is certified to meet it up to there"))
    return found


def _outward(end: float, one: Constraint) -> float:
    """An end with three figures, rounded towards the bound."""
    if end == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(end))) - 2)
    rounded = (math.ceil if one.op == "<=" else math.floor)(round(end / step, 6)) * step
    kept = min(rounded, one.bound) if one.op == "<=" else max(rounded, one.bound)
    return float(f"{kept:.6g}")


# by block


def _dependence(lock: Lock, rows: Sequence[Evidence], grounds: Sequence[Ground]) -> list[Probe]:
    """How much less the values say for resembling their neighbours, and may say until a claim is not certified."""
    what = "values resembled their neighbours"
    plain = [ground for ground in grounds if not _allows_neighbours(lock, ground)]
    if not plain:
        return [Probe(what, "the same answer", "the intervals allow for it")]
    seen = [_Likeness.of(ground, by_units(lock, rows, ground)) for ground in plain[:_LOOKED_AT]]
    seen = [likeness for likeness in seen if likeness.values >= _FEWEST]
    if not seen:
        return [Probe(what, "no longer certain", "too few values to see whether they do")]
    worst = min(seen, key=lambda likeness: likeness.spare)
    how = "more" if worst.real else "no more"
    found = (
        f"the variance of '{told(lock, worst.ground)}' is {worst.seen:.3g} times that of independent values, {how} "
        f"than chance gives ({worst.chance:.3g} with {worst.values:,} values); certain up to {worst.bearable:.3g} times"
    )
    return [Probe(what, "no longer certain" if worst.spare < 0 else "the same answer", found)]


class _Likeness(NamedTuple):
    """How many times the variance of a claim's mean is that of independent values: as seen; by chance, 95 times of
    100; and at most, for the claim to stay certified."""

    ground: Ground
    seen: float
    chance: float
    bearable: float
    values: int

    @classmethod
    def of(cls, ground: Ground, values: Sequence[float]) -> _Likeness:
        import numpy as np

        from weigh.scale.dependence import inflation

        rng = np.random.default_rng(0)
        shuffled = [inflation(rng.permutation(values)) for _ in range(_SHUFFLES)] if values else [1.0]
        seen = inflation(values) if values else 1.0
        return cls(ground, seen, float(np.quantile(shuffled, 0.95)), ground.slack**2, len(values))

    @property
    def real(self) -> bool:
        return self.seen > self.chance

    @property
    def spare(self) -> float:
        return self.bearable / (self.seen if self.real else 1.0) - 1.0


def _allows_neighbours(lock: Lock, ground: Ground) -> bool:
    return _measure(lock, ground).serial or "resemble" in ground.interval.assumption


def _halves(lock: Lock, rows: Sequence[Evidence], grounds: Sequence[Ground]) -> list[Probe]:
    """Whether the first and the second half of the blocks speak for each claim."""
    against: list[str] = []
    agree: list[str] = []
    for ground in grounds:
        values = series(lock, rows, ground)
        if len(values) < _FEWEST:
            continue
        center, middle = _center(lock, ground), len(values) // 2
        first, last = center(values[:middle]), center(values[middle:])
        both = _speaks_for(ground, first) and _speaks_for(ground, last)
        of = _figure(lock, ground)
        text = f"'{told(lock, ground)}': {of(first)} in the first half of the blocks, {of(last)} in the second"
        (agree if both else against).append(text)
    what = "what is measured changed as blocks go by"
    if against:
        return [Probe(what, "no longer certain", f"the halves disagree on {'; '.join(against[:3])}")]
    if agree:
        return [Probe(what, "the same answer", f"each half speaks for every claim; {agree[0]}")]
    return []


def _outliers(lock: Lock, rows: Sequence[Evidence], made: Decision, closest: Ground) -> list[Probe]:
    """How many of the most favourable blocks carry the closest call."""
    values = by_blocks(lock, rows, closest)
    if len(values) < _FEWEST:
        return []
    best = sorted(values, key=lambda block: values[block], reverse=closest.above)
    needed = _turning([values[block] for block in best], _center(lock, closest), closest)
    effect, now = _effect(judge(lock, [row for row in rows if row.block != best[0]]), made)
    share = f"of '{told(lock, closest)}' the estimate turns without its best {needed} of {len(values)} blocks"
    text = share if needed else f"of '{told(lock, closest)}' no number of blocks left out turns the estimate"
    return [Probe("the most favourable block were a fluke", effect, "; ".join(part for part in (now, text) if part))]


def _turning(best_first: Sequence[float], center: Callable[[Sequence[float]], float], ground: Ground) -> int | None:
    """How many values, the most favourable first, have to be left out until the rest speak against the claim."""
    for left_out in range(len(best_first)):
        if not _speaks_for(ground, center(best_first[left_out:])):
            return left_out
    return None


def _speaks_for(ground: Ground, value: float) -> bool:
    return value >= ground.bound if ground.above else value <= ground.bound


def _figure(lock: Lock, ground: Ground) -> Callable[[float], str]:
    percent = ground.constraint is None and lock.measure(lock.objective).compared_by_ratio
    return lambda value: f"{100 * value:.3g}%" if percent else f"{round(value, 12) + 0.0:.3g}"


def _center(lock: Lock, ground: Ground) -> Callable[[Sequence[float]], float]:
    import numpy as np

    if _measure(lock, ground).kind == "mean":
        return lambda values: float(np.mean(values))
    return lambda values: float(np.median(values))


def series(lock: Lock, rows: Sequence[Evidence], ground: Ground) -> list[float]:
    """What a claim is about, one value a block of the race, in order."""
    return list(by_blocks(lock, rows, ground).values())


def by_blocks(lock: Lock, rows: Sequence[Evidence], ground: Ground) -> dict[int, float]:
    """What a claim is about, by block of the race: a mean, its difference, or a ratio of medians or quantiles."""
    import numpy as np

    measure = _measure(lock, ground)
    q = measure.q if measure.kind == "quantile" else 0.5

    def summed(values: Array) -> float:
        return float(values.mean() if measure.kind == "mean" else np.quantile(values, q))

    return {
        block: float(_against(lock, ground, summed(mine), None if theirs is None else summed(theirs)))
        for block, mine, theirs in _measured(lock, rows, ground)
    }


def by_units(lock: Lock, rows: Sequence[Evidence], ground: Ground) -> list[float]:
    """What a claim is about, one value a unit, in the order in which they were measured."""
    found: list[float] = []
    for _, mine, theirs in _measured(lock, rows, ground):
        if theirs is None or len(mine) == len(theirs):
            found += _against(lock, ground, mine, theirs).tolist()
    return found


def _measure(lock: Lock, ground: Ground) -> Measure:
    return lock.measure(ground.constraint.measure if ground.constraint else lock.objective)


def _measured(lock: Lock, rows: Sequence[Evidence], ground: Ground) -> Iterator[tuple[int, Array, Array | None]]:
    """The values of a claim's option and of what it is compared with, by block of the race; of rungs the last."""
    import numpy as np

    beside = ground.rival or (lock.baseline if ground.constraint and ground.constraint.relative else "")
    name = _measure(lock, ground).name
    found: list[tuple[int, Array, Array | None]] = []
    for block, group in by_block(row for row in rows if row.block < lock.blocks.race).items():
        of = {row.option: row.values[name] for row in group if row.status == "measured"}
        if ground.option in of and (not beside or beside in of):
            mine, theirs = (np.atleast_1d(np.asarray(of.get(one, 0.0), float)) for one in (ground.option, beside))
            found.append((block, mine, theirs if beside else None))
    last = max((lock.blocks.rung(block) for block, *_ in found), default=0)
    return (one for one in found if lock.blocks.rung(one[0]) == last)


def _against(lock: Lock, ground: Ground, mine: Any, theirs: Any) -> Any:
    """The difference or ratio that a constraint bounds; or the lead over a rival, positive where it is better."""
    if theirs is None:
        return mine
    measure = _measure(lock, ground)
    ratio = ground.constraint.relative == "ratio" if ground.constraint else measure.compared_by_ratio
    value = mine / theirs if ratio else mine - theirs
    if ground.constraint:
        return value
    gain = value - 1.0 if ratio else value
    return -gain if measure.better == "lower" else gain


def told(lock: Lock, ground: Ground) -> str:
    """A claim in words."""
    if ground.constraint is not None:
        return f"{ground.option} {ground.kind} {ground.constraint}"
    if ground.kind == "within":
        return f"{ground.rival} is no better than {ground.option}"
    return f"{ground.option} is better than {ground.rival}"
