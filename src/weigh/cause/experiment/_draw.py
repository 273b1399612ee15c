"""Experiments drawn from the history: which units enter which arm on which day."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from weigh.cause.experiment._arms import Adder, Experiments, Units
from weigh.cause.experiment._history import History

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.cause.experiment import ExperimentTask
    from weigh.cause.experiment._arms import Floats

STRIPE = 1024
"""Units that are drawn at a time: few enough to stay in the cache."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Units of one arm that enter by one look: how many, and from which day of a period (None: from all of it)."""

    arm: int
    look: int
    units: int
    day: int | None


def drawn(history: History, task: ExperimentTask, seed: int, number: int, daily: bool) -> Experiments:
    """Experiments without an effect: each on a period of its own, its units drawn from it with replacement.

    All have the same number of units in each arm and look, so that they fill one array.
    """
    plan = planned(history, task, daily)
    adder = _added(history, plan, seed, number, task.days if daily else 1, None)
    control, treated = adder.arms()
    units = functools.cache(lambda: gathered(history, plan, seed, number, None))
    return Experiments(control, treated, float(sum(cell.units for cell in plan)), seed, units, history.plant.values)


def planted(
    history: History, task: ExperimentTask, plain: Experiments, effect: float, daily: bool
) -> tuple[Experiments, Floats]:
    """The same experiments with an effect, and what the effect is on average up to each look, (experiments, looks).

    The two differ where an effect depends on the unit: a period in which fewer units can convert has a smaller one.
    """
    plan, (number, looks) = planned(history, task, daily), plain.shape
    truth = _truth(history, plan, plain, effect)
    if history.plant.kind != "convert":
        return plain.moved(*history.plant.line(effect)), truth
    adder = _added(history, [cell for cell in plan if cell.arm], plain.seed, number, looks, effect)
    return replace(
        plain,
        treated=adder.arms()[1],
        units=lambda: gathered(history, plan, plain.seed, number, effect),
    ), truth


def _added(history: History, plan: Sequence[Cell], seed: int, number: int, looks: int, effect: float | None) -> Adder:
    adder = Adder(number, looks, history.x is not None)
    for cell, y, x in draws(history, plan, seed, number, effect):
        adder.add(cell.arm, cell.look, y, x)
    return adder


def _truth(history: History, plan: Sequence[Cell], plain: Experiments, effect: float) -> Floats:
    import numpy as np

    number, looks = plain.shape
    if history.plant.kind == "add":
        return np.full((number, looks), effect)
    period, before = _periods(history, plain.seed, number), history.moments()
    gains = np.zeros((number, looks))
    for cell in plan:
        if cell.arm:
            start, count = _source(history, cell, period)
            mean, above = ((sums[start + count] - sums[start]) / count for sums in before)
            gains[:, cell.look] += cell.units * history.plant.gain(effect, mean, above)
    with np.errstate(invalid="ignore"):
        return np.asarray(gains.cumsum(axis=1) / plain.treated.n)


def planned(history: History, task: ExperimentTask, daily: bool) -> list[Cell]:
    """Every cell of an experiment, control first, then by look. Shares hold up to each look, to one unit.

    Days get as many units as they have in an average period; without days, all get as many.
    """
    import numpy as np

    usual = history.counts.mean(axis=0)
    reached = usual.cumsum() if len(usual) > 1 else usual[0] * np.arange(1, task.days + 1) / task.days
    total = np.rint(reached * ((task.units or reached[-1]) / reached[-1])).astype(int)
    total = total if daily else total[-1:]
    treated = np.rint(total * task.share).astype(int)
    known = daily and len(usual) > 1
    return [
        Cell(arm, look, int(units), look if known else None)
        for arm, column in enumerate((total - treated, treated))
        for look, units in enumerate(np.diff(column, prepend=0))
        if units
    ]


def draws(
    history: History, plan: Sequence[Cell], seed: int, number: int, effect: float | None
) -> Iterator[tuple[Cell, Any, Any]]:
    """(cell, y, x) of parts of all experiments, shape (experiments, units); with `effect`, treated units convert.

    Arms and conversions have their own random numbers, so that an arm is the same whether or not others are drawn.
    """
    import numpy as np

    rngs = [np.random.default_rng([seed, part]) for part in range(3)]
    period = _periods(history, seed, number)
    for cell in plan:
        start, count = _source(history, cell, period)
        for done in range(0, cell.units, STRIPE):
            place = rngs[cell.arm].random((number, min(STRIPE, cell.units - done)))
            place *= count[:, None]
            who = place.astype(np.int64)
            who += start[:, None]
            y, x = history.y.take(who), None if history.x is None else history.x.take(who)
            if effect is not None and cell.arm:
                y = history.plant.converted(y, effect, rngs[2])
            yield cell, y, x


def _periods(history: History, seed: int, number: int) -> NDArray[np.int64]:
    """The period of each experiment."""
    import numpy as np

    return np.random.default_rng(seed).integers(len(history.counts), size=number)


def _source(history: History, cell: Cell, period: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First row and number of rows that each experiment's units come from; an empty day borrows its period's."""
    import numpy as np

    start, count = history.starts[period, 0], history.sizes[period]
    if cell.day is None:
        return start, count
    some = history.counts[period, cell.day] > 0
    day = history.starts[period, cell.day], history.counts[period, cell.day]
    return np.where(some, day[0], start), np.where(some, day[1], count)


def gathered(history: History, plan: Sequence[Cell], seed: int, number: int, effect: float | None) -> Units:
    """The same draw, unit by unit."""
    import numpy as np

    cells, ys, xs = zip(*draws(history, plan, seed, number, effect))
    width = [y.shape[1] for y in ys]
    x = None if history.x is None else np.concatenate(xs, axis=1)
    treated = np.repeat([cell.arm == 1 for cell in cells], width)
    return Units(np.concatenate(ys, axis=1), x, treated, np.repeat([cell.look for cell in cells], width))
