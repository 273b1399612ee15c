"""The best schedule in hindsight, by dynamic programming over the tables that the policies share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weigh.retrain.cadence._replay import Replay
from weigh.retrain.cadence._walk import Course, Prices, course_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


def clairvoyant(replay: Replay, prices: Prices) -> Course:
    """The cheapest course that any policy could have taken: no policy's total cost is lower.

    A course is a sequence of models, each in service from its morning up to the next one's. The cheapest way to reach a
    day is the cheapest, over the model in service just before, of the way to that model's morning, its price and its
    losses: one minimum a day and kind of model, O(days^2) in all.
    """
    import numpy as np

    best = np.zeros(replay.days + 1)
    came: list[tuple[int, bool]] = [(0, False)]
    for end in range(1, replay.days + 1):
        costs = [best[:end] + _segments(*kind, end, prices.error) for kind in _kinds(replay, prices)]
        cheapest = int(np.argmin([cost.min() for cost in costs]))
        start = int(costs[cheapest].argmin())
        best[end] = costs[cheapest][start]
        came.append((start, cheapest == 1))
    return _course(replay, came)


def _kinds(replay: Replay, prices: Prices) -> list[tuple[Floats, float, bool]]:
    kinds = [(replay.fitted_by_day, prices.retraining, True)]
    return [*kinds, (replay.online_by_day, prices.update, False)] if len(replay.online) else kinds


def _segments(table: Floats, price: float, free_start: bool, end: int, error: float) -> Floats:
    """Cost of each model made before `end` from its own morning up to `end`; on day 0 only the fitted one is there."""
    import numpy as np

    starts = np.arange(end)
    costs: Floats = price + error * (table[starts, end] - table[starts, starts])
    costs[0] = costs[0] - price if free_start else np.inf
    return costs


def _course(replay: Replay, came: list[tuple[int, bool]]) -> Course:
    import numpy as np

    made, online = np.zeros(replay.days, dtype=np.int64), np.zeros(replay.days, dtype=bool)
    changed = np.zeros(replay.days, dtype=bool)
    end = replay.days
    while end > 0:
        start, incremental = came[end]
        made[start:end], online[start:end], changed[start] = start, incremental, start > 0
        end = start
    return course_of(replay, made, online, changed)
