"""Experiments drawn from the history: which units enter which arm on which day."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weigh.cause.experiment._arms import Adder, Experiments, Units
from weigh.cause.experiment._history import History

if TYPE_CHECKING:
    from weigh.cause.experiment import ExperimentTask

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
    adder = Adder(number, task.days if daily else 1, history.x is not None)
    for cell, y, x in draws(history, plan, seed, number):
        adder.add(cell.arm, cell.look, y, x)
    control, treated = adder.arms()
    units = functools.cache(lambda: gathered(history, plan, seed, number))
    return Experiments(control, treated, float(sum(cell.units for cell in plan)), seed, units)


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


def draws(history: History, plan: Sequence[Cell], seed: int, number: int) -> Iterator[tuple[Cell, Any, Any]]:
    """(cell, y, x) of parts of all experiments, shape (experiments, units); an empty day borrows its period's units."""
    import numpy as np

    rng = np.random.default_rng(seed)
    period = rng.integers(len(history.counts), size=number)
    whole = (history.starts[period, 0], history.sizes[period])
    for cell in plan:
        start, count = whole
        if cell.day is not None:
            some = history.counts[period, cell.day] > 0
            start = np.where(some, history.starts[period, cell.day], start)
            count = np.where(some, history.counts[period, cell.day], count)
        for done in range(0, cell.units, STRIPE):
            place = rng.random((number, min(STRIPE, cell.units - done)))
            place *= count[:, None]
            who = place.astype(np.int64)
            who += start[:, None]
            yield cell, history.y.take(who), None if history.x is None else history.x.take(who)


def gathered(history: History, plan: Sequence[Cell], seed: int, number: int) -> Units:
    """The same draw, unit by unit."""
    import numpy as np

    cells, ys, xs = zip(*draws(history, plan, seed, number))
    width = [y.shape[1] for y in ys]
    x = None if history.x is None else np.concatenate(xs, axis=1)
    treated = np.repeat([cell.arm == 1 for cell in cells], width)
    return Units(np.concatenate(ys, axis=1), x, treated, np.repeat([cell.look for cell in cells], width))
