"""The task, opened: a policy's course is followed once, and each trial reads one block of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from weigh.choice import Bench, Block, Blocks, Exhibit, Unfit, UsageError, Values
from weigh.retrain.cadence import DEAREST, Cadence, CadenceTask
from weigh.retrain.cadence._clairvoyant import clairvoyant
from weigh.retrain.cadence._history import need_blocks
from weigh.retrain.cadence._replay import Replay
from weigh.retrain.cadence._walk import Course, Prices, follow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class CadenceBench(Bench):
    """Blocks are stretches of `block_days` days in order of time: two thirds to choose on, the later third to judge by.

    The seed reaches policies that throw dice; the history itself is what it is, and no row is drawn or left out.
    """

    def __init__(self, task: CadenceTask, replay: Replay, seed: int) -> None:
        need_blocks(replay.start + replay.days, replay.start, task.block_days)
        self.task, self.replay, self.seed = task, replay, seed
        self.prices = Prices.of(task)
        self.whole = replay.days // task.block_days
        self.scale = task.error_cost * float(replay.rows.mean()) * task.block_days
        self._check_evenness()

    @property
    def blocks(self) -> Blocks:
        fresh = max(1, self.whole // 3)
        return Blocks(race=self.whole - fresh, fresh=fresh)

    @cached_property
    def best(self) -> Course:
        """The best schedule in hindsight, over all replayed days."""
        return clairvoyant(self.replay, self.prices)

    def prepare(self, option: Cadence) -> Policy:
        policy = Policy(self, option, follow(self.replay, option.act, self.seed))
        dearest = float(policy.costs.max())
        if dearest > DEAREST:
            raise Unfit(
                f"a block of it costs {dearest:.3g} times as much as being wrong on every row of an average block, so "
                f"that it cannot win; where one retraining costs so much, raise block_days above {self.task.block_days}"
            )
        return policy

    def trial(self, subject: Policy, block: Block) -> Values:
        return {
            "cost": [subject.costs[block.index]],
            "error": subject.errors[block.index],
            "retrainings": [subject.changes[block.index]],
            "regret": [subject.regrets[block.index]],
        }

    def exhibits(self, subjects: Mapping[str, Any]) -> Sequence[Exhibit]:
        from weigh.retrain.cadence._exhibits import all_of

        return all_of(self, subjects)

    def date_of(self, day: int) -> str:
        """Date of a replayed day, ISO 8601."""
        return (date.fromisoformat(self.replay.first) + timedelta(days=day)).isoformat()

    def by_block(self, daily: Any) -> Floats:
        """Sums over the days of each whole block, shape (blocks,)."""
        whole: Floats = daily[: self.whole * self.task.block_days].reshape(self.whole, -1).sum(axis=1)
        return whole

    def _check_evenness(self) -> None:
        rows = self.by_block(self.replay.rows)
        share = float(rows.max() / rows.mean()) if rows.any() else 0.0
        if share > DEAREST - 1:
            raise UsageError(
                f"one block of {self.task.block_days} days holds {share:.3g} times as many rows as an average one, and "
                "would decide alone; raise block_days, or leave out days without traffic"
            )


class Policy:
    """A policy on this task: its course, and what each block says of it."""

    def __init__(self, bench: CadenceBench, option: Cadence, course: Course) -> None:
        self.option, self.course = option, course
        cost = bench.by_block(course.cost(bench.prices))
        rows, loss = bench.by_block(bench.replay.rows), bench.by_block(course.loss)
        self.costs = cost / bench.scale
        self.errors = [[float(lost / of)] if of else [] for lost, of in zip(loss, rows)]
        self.changes = bench.by_block(course.retrained | course.updated) / bench.task.block_days
        self.regrets = (cost - bench.by_block(bench.best.cost(bench.prices))) / bench.scale
