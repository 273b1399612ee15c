"""Following a policy through the replay, morning by morning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from weigh.choice import Unfit, UsageError
from weigh.retrain.cadence import Action, CadenceTask, Day
from weigh.retrain.cadence._day import Past
from weigh.retrain.cadence._replay import Replay

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Prices:
    """What things cost, in the user's money."""

    error: float
    retraining: float
    update: float

    @classmethod
    def of(cls, task: CadenceTask) -> Prices:
        """Those of the task."""
        update = task.retraining_cost / task.train_days if task.update_cost is None else task.update_cost
        return cls(task.error_cost, task.retraining_cost, update)


@dataclass(frozen=True)
class Course:
    """What was in service on each day, and what came of it; all arrays have shape (days,)."""

    made: Ints
    """The morning on which the model in service was made."""
    online: Bools
    """Whether it is the incremental learner as it was then."""
    retrained: Bools
    updated: Bools
    loss: Floats
    """Sum of the losses of the day's rows."""

    def cost(self, prices: Prices) -> Floats:
        """Money a day, shape (days,)."""
        return prices.error * self.loss + prices.retraining * self.retrained + prices.update * self.updated


def follow(replay: Replay, act: Callable[[Day], Action], seed: int) -> Course:
    """The course of a policy: its model of day 0 is fitted on that morning and costs nothing.

    Raises:
        Unfit: the policy updates, and there is no incremental learner.
        UsageError: it answers with something that is no action.
    """
    import numpy as np

    past, first = Past(replay), date.fromisoformat(replay.first)
    made, online = np.zeros(replay.days, dtype=np.int64), np.zeros(replay.days, dtype=bool)
    changed = np.zeros(replay.days, dtype=bool)
    for number in range(replay.days):
        action = act(Day(past, number, first + timedelta(days=number), seed)) if number else "keep"
        if action not in ("keep", "retrain", "update"):
            raise UsageError(f"a policy answered {action!r}; answer 'keep', 'retrain' or 'update'")
        if action == "update" and not len(replay.online):
            raise Unfit(
                f"no incremental learner works here: {replay.refused}; name one that can in the task: "
                "online: sklearn.linear_model:SGDClassifier"
            )
        if action != "keep":
            past.change(number, online=action == "update")
            changed[number] = True
        made[number], online[number] = past.model, past.online
        past.serve(number)
    return course_of(replay, made, online, changed)


def course_of(replay: Replay, made: Ints, online: Bools, changed: Bools) -> Course:
    """The course of a schedule that is given day by day; on `changed` days a new model goes into service."""
    return Course(made, online, changed & ~online, changed & online, losses_on(replay, made, online))


def losses_on(replay: Replay, made: Ints, online: Bools) -> Floats:
    """Sum of the losses on each day of the model made on morning `made` of each, shape (days,)."""
    import numpy as np

    days = np.arange(replay.days)
    loss = np.empty(replay.days)
    for table, chosen in ((replay.fitted_by_day, ~online), (replay.online_by_day, online)):
        loss[chosen] = table[made[chosen], days[chosen] + 1] - table[made[chosen], days[chosen]]
    return loss


def unchanged_course(replay: Replay) -> Course:
    """The course of predicting the label that arrived last: no model, and nothing to pay for one."""
    import numpy as np

    none = np.zeros(replay.days, dtype=bool)
    return Course(np.zeros(replay.days, dtype=np.int64), none, none, none, replay.unchanged)
