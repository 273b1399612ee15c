"""Releases on replayed traffic: some good, some bad, all of which every option brings to the users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weigh.choice import Bench, Block, Blocks, UsageError, Values
from weigh.rollout.plan import Goal, Guardrail, Metric, RolloutPlan
from weigh.serve.rollout._history import History, load
from weigh.serve.rollout._traffic import Planted, Traffic

if TYPE_CHECKING:
    from weigh.serve.rollout import Outcome, Release, RolloutTask


class Replays(Bench):
    """A block is one replay of each bad release, and as many of good ones."""

    def __init__(self, task: RolloutTask, seed: int) -> None:
        self.task, self.plan = task, plan_of(task)
        self.history: History = load(task)
        unknown = [one.text for one in self.plan.guardrails if one.metric not in self.history.values]
        if task.goal and self.plan.goal and self.plan.goal.metric != task.metric:
            raise UsageError(
                f"the goal '{task.goal}' is about no metric of the task: type goal='{task.metric} > baseline'"
            )
        if unknown:
            raise UsageError(f"nothing of the history shows '{unknown[0]}': name the column of its metric in the task")
        self.bad = self._bad()
        good = Planted("same", 0.0, bad=False)
        if self.plan.goal:
            good = Planted("metric", self._better(self.plan.goal) * task.improvement, bad=False)
        self.releases = (*self.bad, *(good for _ in self.bad))

    def _bad(self) -> tuple[Planted, ...]:
        """The regressions that a guardrail names."""
        sizes, bounded = self.task.regressions, {one.metric: one for one in self.plan.guardrails}
        made = [Planted("error", size, bad=True) for size in sizes if "error" in bounded]
        if metric := bounded.get(self.task.metric):
            made += [Planted("metric", -self._better(metric) * size, bad=True) for size in sizes]
        made += [Planted("tail", self.task.tail, bad=True)] if "latency" in bounded else []
        if not made:
            raise UsageError(
                "no regression is planted where a guardrail would see it: type regressions=..., or guardrails"
            )
        return tuple(made)

    def _better(self, ruling: Guardrail | Goal) -> float:
        """1 where more of the metric is better, -1 where less is."""
        return 1.0 if ruling.read(self.plan.metric(ruling.metric)).op == ">=" else -1.0

    @property
    def blocks(self) -> Blocks:
        return Blocks(race=self.task.replays, fresh=max(self.task.replays // 2, 1))

    def trial(self, subject: Release, block: Block) -> Values:
        """All releases of a block, one value a release (of its kind) and measure."""
        found: dict[str, list[float]] = {
            name: [] for name in ("cost", "bad_shipped", "caught", "false_alarms", "exposed", "detection", "delay")
        }
        for place, planted in enumerate(self.releases):
            traffic = Traffic(self.history, self.task, self.plan, planted, block.seed * 1000 + place)
            outcome = subject.release(traffic)
            for name, value in self._measured(traffic, outcome, planted.bad).items():
                found[name].append(value)
        return found

    def _measured(self, traffic: Traffic, outcome: Outcome, bad: bool) -> dict[str, float]:
        over = traffic.tick / traffic.ticks
        _rest(traffic, outcome)
        exposed = traffic.exposed / max(traffic.total, 1)
        if bad:
            back = outcome == "roll back"
            return {
                "cost": exposed, "exposed": exposed, "caught": float(back), "bad_shipped": float(outcome == "ship"),
                "detection": over if back else 1.0,
            }  # fmt: skip
        return {
            "cost": self.task.delay_cost * (1.0 - exposed), "false_alarms": float(outcome == "roll back"),
            "delay": over if outcome == "ship" else 1.0,
        }  # fmt: skip


def _rest(traffic: Traffic, outcome: Outcome) -> None:
    """What is left of the time, once the verdict is there."""
    while traffic.serve(1.0 if outcome == "ship" else 0.0) is not None:
        pass


def plan_of(task: RolloutTask, **changed: Any) -> RolloutPlan:
    """What a release of the task must keep to."""
    metrics = (Metric(name=task.metric, low=task.low, high=task.high),) if task.metric else ()
    return RolloutPlan.parse(
        guardrails=task.guardrails, goal=task.goal or None, metrics=metrics, alpha=task.alpha, stages=task.stages,
        window=task.window, **changed,
    )  # fmt: skip
