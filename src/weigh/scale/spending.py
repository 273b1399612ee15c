"""A test that is looked at a planned number of times, and one that is held in reserve for after the plan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from weigh.scale.bets import Array
from weigh.scale.interval import checked_alpha

_NORMAL = NormalDist()
_POINTS = 481
_FARTHEST = 8.0
RESERVE = 0.1
"""Share of alpha that is held in reserve for looks beyond the horizon."""


class Look(NamedTuple):
    """What a z statistic must exceed at one look, and under which rule."""

    bound: float
    rule: str


def spent(time: float, alpha: float) -> float:
    """How much of a one-sided alpha is spent by the time, as a share of the planned information.

    Next to nothing at first, as O'Brien and Fleming's bounds do: 0.3 % of alpha at a quarter, 12 % at half.

    Source: Lan and DeMets, Discrete sequential boundaries for clinical trials, Biometrika 70, 1983.

    >>> [round(spent(time, 0.025), 5) for time in (0.25, 0.5, 1.0)]
    [1e-05, 0.00153, 0.025]
    """
    return 2.0 * _NORMAL.cdf(_NORMAL.inv_cdf(alpha / 2.0) / math.sqrt(min(time, 1.0)))


def bounds(times: Sequence[float], alpha: float) -> list[float]:
    """What z must exceed at each look to call a difference, one-sided, at a total chance of alpha.

    By the recursion of Armitage, McPherson and Rowe: the density of the score process among those that did not cross
    before, carried from look to look on a grid.

    Args:
        times: information at each look as a share of the planned, increasing, above 0; may end beyond 1.
        alpha: one-sided error rate.

    Raises:
        ValueError: alpha is no rate, or times do not increase.

    >>> [round(bound, 2) for bound in bounds([0.25, 0.5, 0.75, 1.0], 0.025)]
    [4.33, 2.96, 2.36, 2.01]
    """
    checked_alpha(alpha)
    if not times or min(times) <= 0 or any(a >= b for a, b in zip(times, list(times)[1:], strict=False)):
        raise ValueError(f"looks at the times {list(times)}: give times above 0 that increase")
    return list(_bounds(tuple(times), alpha))


@lru_cache(maxsize=512)
def _bounds(times: tuple[float, ...], alpha: float) -> tuple[float, ...]:
    return tuple(bound for bound, _, _ in _run(times, alpha))


@lru_cache(maxsize=512)
def _run(times: tuple[float, ...], alpha: float) -> tuple[tuple[float, Array, Array], ...]:
    """Of each look: the bound of z, then grid and mass of the score S = z sqrt(time) of those that go on."""
    before = _run(times[:-1], alpha) if len(times) > 1 else ()
    last = times[-2] if before else 0.0
    points, mass = (before[-1][1], before[-1][2]) if before else (np.zeros(1), np.ones(1))
    step = math.sqrt(times[-1] - last)
    done = spent(last, alpha) if before else 0.0
    aim = spent(times[-1], alpha) - done
    edge = _edge(points, mass, step, aim, math.sqrt(times[-1]))
    low = -_FARTHEST * math.sqrt(times[-1])
    grid = np.linspace(low, edge, _POINTS)
    weights = _simpson(grid)
    density = np.exp(-0.5 * ((grid[:, None] - points[None, :]) / step) ** 2) @ mass / (step * math.sqrt(2 * math.pi))
    return (*before, (edge / math.sqrt(times[-1]), grid, density * weights))


def _edge(points: Array, mass: Array, step: float, aim: float, root: float) -> float:
    """The score that is exceeded with the chance `aim` after a step of that standard deviation."""
    low, high = -_FARTHEST * root, _FARTHEST * root
    if aim <= 1e-15:
        return high
    for _ in range(60):
        middle = (low + high) / 2
        over = float(mass @ _upper((middle - points) / step))
        low, high = (middle, high) if over > aim else (low, middle)
    return (low + high) / 2


def _upper(z: Array) -> Array:
    """Chance that a standard normal exceeds z."""
    return np.array([0.5 * math.erfc(one / math.sqrt(2.0)) for one in z])


def _simpson(grid: Array) -> Array:
    weights = np.full(grid.size, 2.0)
    weights[1::2] = 4.0
    weights[0] = weights[-1] = 1.0
    scaled: Array = weights * (grid[1] - grid[0]) / 3.0
    return scaled


@lru_cache(maxsize=64)
def _delayed(alpha: float) -> float:
    """a, with 1 - Phi(a) + a phi(a) = alpha."""
    low, high = 0.5, 12.0
    for _ in range(80):
        middle = (low + high) / 2
        chance = 1.0 - _NORMAL.cdf(middle) + middle * _NORMAL.pdf(middle)
        low, high = (middle, high) if chance > alpha else (low, middle)
    return (low + high) / 2


def beyond(time: float, alpha: float) -> float:
    """What z must exceed at any time beyond the planned information, however long one goes on; one-sided.

    z ever exceeds sqrt(a^2 + log(time)) after the time 1 with the chance 1 - Phi(a) + a phi(a); that it also falls
    below the mirrored bound is left out (less than alpha squared).

    Source: Robbins, Statistical methods related to the law of the iterated logarithm, Annals of Mathematical
    Statistics 41, 1970, example 1 (a normal mixture that begins late).

    >>> round(beyond(1.0, 0.005), 2), round(beyond(3.0, 0.005), 2)
    (3.37, 3.53)
    """
    return math.sqrt(_delayed(alpha) ** 2 + math.log(max(time, 1.0)))


def look(times: Sequence[float], alpha: float, reserve: float = RESERVE) -> Look:
    """What z must exceed at the last of the looks: spending up to the horizon, the reserve beyond it.

    The first look at a time of 1 or later is the last that spends. Together they are wrong at most alpha of the time.

    Args:
        times: information at each look so far as a share of the planned, increasing.
        alpha: one-sided error rate of both together.
        reserve: the share of alpha for looks beyond the horizon.

    >>> look([0.5, 1.0], 0.025).rule, look([0.5, 1.02, 1.5], 0.025).rule
    ('spending', 'reserve')
    """
    planned = [time for place, time in enumerate(times) if place == 0 or times[place - 1] < 1.0]
    if len(planned) == len(times):
        return Look(bounds(planned, alpha * (1.0 - reserve))[-1], "spending")
    return Look(beyond(times[-1], alpha * reserve), "reserve")
