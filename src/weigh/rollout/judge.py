"""What live traffic says of a release: ship, roll back, or hold; a pure function of the observations and the looks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np

from weigh.choice import Frozen, UsageError
from weigh.rollout.goal import GoalTest
from weigh.rollout.guard import Guard, Span, guard
from weigh.rollout.plan import KNOWN, SHADOWED, RolloutPlan
from weigh.rollout.words import found_of
from weigh.scale.sample_ratio import SampleRatio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

Arm: TypeAlias = Literal["baseline", "canary"]
ARMS = ("baseline", "canary")
SHOWN = ("error", "latency")
"""What a request shows as it is answered; disagreement comes a little later, from a copy of it."""
_LOPSIDED = 5.0
"""Standard errors by which the arms' shares of requests with a value may differ before records are taken to be lost."""


class Verdict(Frozen):
    """What is to be done now."""

    verdict: Literal["ship", "roll back", "hold"]
    move: Literal["advance", "stay"] = "stay"
    stage: int = 0
    """Place in `plan.shares` at which the canary may be: the next one where `move` is "advance"."""
    share: float = 0.0
    """The canary's share of the traffic there; 1 after "ship", 0 after "roll back"."""
    reason: str = ""


class Standing(Frozen):
    """What is known of one guardrail, the goal, or the sample ratio."""

    kind: Literal["guardrail", "goal", "sample ratio"]
    text: str
    n: tuple[int, int]
    """Values of the baseline and of the canary."""
    span: Span = Span()
    state: Literal["met", "broken", "open", "missing"]
    evidence: float = 0.0
    """Log of the evidence that it is broken; of the goal that it is met, its z."""
    needed: float | None = None
    """What that must reach."""
    words: str = ""


class Judge:
    """Judges a release by its plan, request by request.

    Feed what was served with `add` and who was assigned with `assign`, and ask with `look`. Harm is looked at after
    every observation inside `add`, so that it does not matter how observations are cut into calls; the goal, the next
    share and the verdict only when `look` is called. The state is bounded and survives JSON.

    Args:
        plan: what is promised.

    >>> plan = RolloutPlan(guardrails=["error <= baseline + 0.02"], stages=(0.5, 1.0), least=50)
    >>> judge, canary = Judge(plan), np.arange(8000) % 2 == 1
    >>> judge.add(0, canary, np.arange(8000.0), {"error": np.arange(8000) // 2 % 50 == 0})
    >>> judge.look().verdict
    'ship'
    """

    def __init__(self, plan: RolloutPlan) -> None:
        self.plan = plan
        claims = len(plan.guardrails) + bool(plan.goal)
        each = plan.alpha / 2.0 / claims
        self.guards: tuple[Guard, ...] = tuple(guard(one, plan, each) for one in plan.guardrails)
        self.goal = GoalTest(plan.goal, plan, each) if plan.goal else None
        self.ratio = SampleRatio()
        self.stage = 0
        self._rows = np.zeros((len(plan.shares), 2), dtype=np.int64)
        self._seen = {name: self._rows.copy() for name in self._metrics()}
        self._ratio_off = False
        self._last = Verdict(verdict="hold", share=plan.shares[0], reason="nothing was looked at yet")

    def _metrics(self) -> list[str]:
        named = [one.metric for one in self.plan.guardrails] + ([self.plan.goal.metric] if self.plan.goal else [])
        return list(dict.fromkeys(named))

    # what comes in

    def add(
        self,
        stage: int | Sequence[int] | NDArray[np.int64],
        arm: Arm | Sequence[str] | Bools,
        time: float | Sequence[float] | Floats,
        values: Mapping[str, Any],
    ) -> None:
        """Take observations in the order in which they came: one, or arrays of n of them.

        Args:
            stage: place in `plan.shares` at which the request was served; one for all, or shape (n,).
            arm: "baseline" or "canary"; or, of n, a list of them or True where it is the canary, shape (n,).
            time: monotonic seconds; one for all, or shape (n,).
            values: of each metric one value, or n, NaN where it is missing. Metrics of the plan are used, others not.
                A metric that comes later is given later, alone, with the stage and arm of its request.

        Raises:
            UsageError: a stage or an arm that does not exist, arrays of different lengths, or a value out of the range
                of its metric. Nothing of the call is then taken.
        """
        canary = self._canary(arm)
        given = {name: _column(name, values[name], canary.size) for name in self._seen if name in values}
        stages = np.broadcast_to(np.asarray(stage, dtype=np.int64), canary.shape)
        times = np.broadcast_to(np.asarray(time, dtype=np.float64), canary.shape)
        self._check(stages, times, given)
        starts = np.flatnonzero(np.diff(stages, prepend=-1) != 0)
        for start, stop in zip(starts, [*starts[1:], stages.size], strict=True):
            part = slice(start, stop)
            self._take(int(stages[start]), canary[part], times[part], {name: one[part] for name, one in given.items()})

    def _canary(self, arm: Any) -> Bools:
        if isinstance(arm, str):
            arm = [arm]
        found = np.atleast_1d(np.asarray(arm))
        if found.dtype == np.bool_ and found.ndim == 1:
            return found
        unknown = sorted({str(one) for one in found.ravel()} - set(ARMS))
        if unknown or found.ndim != 1:
            raise UsageError(f"there is no arm {', '.join(unknown) or found.shape}: give 'baseline' or 'canary'")
        return found == "canary"

    def _check(self, stages: NDArray[np.int64], times: Floats, given: Mapping[str, Floats]) -> None:
        if stages.size and not (stages.min() >= 0 and stages.max() < len(self.plan.shares)):
            raise UsageError(
                f"there is no stage {stages.min()} or {stages.max()}: there are 0 to {len(self.plan.shares) - 1}"
            )
        if not np.isfinite(times).all():
            raise UsageError("a time is no finite number of seconds: give that of a monotonic clock")
        for name, column in given.items():
            metric = self.plan.metric(name)
            bad = np.isinf(column) | (column < metric.low) | (column > metric.high)
            if bad.any():
                raise UsageError(
                    f"{name} = {column[bad][0]:g} does not lie in [{metric.low:g}, {metric.high:g}]: leave the value "
                    "out, or state the range that holds for every request in the plan"
                )

    def _take(self, stage: int, canary: Bools, time: Floats, given: Mapping[str, Floats]) -> None:
        self.stage = max(self.stage, stage)
        served = np.zeros(canary.size, dtype=bool)
        known: dict[str, Bools] = {}
        for name, column in given.items():
            known[name] = there = ~np.isnan(column)
            self._seen[name][stage] += np.bincount(canary[there], minlength=2)
            served |= there & (name in SHOWN)
        self._rows[stage] += np.bincount(canary[served], minlength=2)
        for one in self.guards:
            if (shown := known.get(one.metric.name)) is not None and shown.any():
                one.take(stage, canary[shown], time[shown], given[one.metric.name][shown])
        if self.goal and (shown := known.get(self.goal.metric.name)) is not None and shown.any():
            self.goal.take(stage, canary[shown], given[self.goal.metric.name][shown])

    def assign(self, stage: int, baseline: int, canary: int) -> None:
        """Further units (users, sessions) that were assigned to the two arms at a stage: for the sample ratio."""
        self.ratio.add(str(stage), (baseline, canary), (0.5, 0.5))
        self._ratio_off = self._ratio_off or bool(self.ratio.evidence >= -math.log(self.plan.ratio_alpha))

    def begin(self, stage: int) -> None:
        """The traffic was moved to a stage: what is said from now on is about that one."""
        if not self.stage <= stage < len(self.plan.shares):
            raise UsageError(
                f"a rollout goes from stage {self.stage} on to at most {len(self.plan.shares) - 1}, not {stage}"
            )
        self.stage = stage

    # what is said

    def look(self, now: float = math.nan, words: bool = True) -> Verdict:
        """The verdict on what was taken so far. "ship" and "roll back" stand; after them nothing is judged any more.

        Args:
            now: monotonic seconds; of no influence on the verdict.
            words: say why it is held, which takes longer than to know it.
        """
        if self._last.verdict == "hold":
            if self.goal:
                self.goal.look()
            self._last = self._judge(words)
        return self._last

    def hold(self, reason: str) -> Verdict:
        """Something that the judge does not see forbids to ship: a hold, and the next look judges anew."""
        share = self.plan.shares[self.stage]
        self._last = Verdict(verdict="hold", stage=self.stage, share=share, reason=reason)
        return self._last

    def verdict(self) -> Verdict:
        """What the last look said."""
        return self._last

    def _judge(self, words: bool) -> Verdict:
        plan, stage = self.plan, self.stage
        here = Verdict(verdict="hold", stage=stage, share=plan.shares[stage])
        if self._ratio_off:
            return here.model_copy(update={"reason": self._ratio_words()})
        if self._broken():
            broken = [one for one in self.standing() if one.state == "broken"]
            reason = "; ".join(f"{one.text} is broken: {one.words}" for one in broken)
            return Verdict(verdict="roll back", stage=stage, share=0.0, reason=reason)
        if missing := self.missing():
            return here.model_copy(update={"reason": "; ".join(missing)})
        last = stage == len(plan.shares) - 1
        share = plan.stages[-1] if last else plan.shares[stage + 1]
        if waits := [one for one in self._asked() if not one.safe(share)]:
            found = found_of(waits[0], self._n(waits[0].metric.name)) if words else ""
            reason = f"not certified yet that {waits[0].guardrail.text} at {share:.3g} of the traffic: {found}"
            return here.model_copy(update={"reason": reason})
        if not last:
            reason = f"every guardrail is certified for {share:.3g} of the traffic"
            return Verdict(verdict="hold", move="advance", stage=stage + 1, share=share, reason=reason)
        if self.goal and not self.goal.met:
            reason = f"every guardrail is certified; not yet that {self.goal.goal.text}: {self._goal_standing().words}"
            return here.model_copy(update={"reason": reason})
        return Verdict(verdict="ship", move="advance", stage=stage, share=1.0, reason=self._shipped())

    def _broken(self) -> bool:
        return any(one.harm for one in self.guards) or bool(self.goal and self.goal.harm)

    def _shipped(self) -> str:
        kept = "every guardrail is certified at its margin"
        return f"{kept}, and so is the goal: {self._goal_standing().words}" if self.goal else kept

    def _asked(self) -> list[Guard]:
        """The guardrails that can be judged at this stage: of shadow copies what the server itself knows."""
        return [one for one in self.guards if one.guardrail.shadowed or self.plan.shares[self.stage] > 0.0]

    def missing(self) -> list[str]:
        """What must be there before anything may pass, in words; empty when nothing is missing."""
        said, stage = [], self.stage
        for name in dict.fromkeys(one.metric.name for one in self._asked()):
            both = any(one.both for one in self._asked() if one.metric.name == name)
            counts = self._seen[name][stage] if both else self._seen[name][stage][1:]
            if counts.min() < self.plan.least:
                least = f"{counts.min()} of the {self.plan.least} requests that each arm needs at this stage"
                said.append(f"low traffic: {least}" + ("" if name in SHOWN else f" show {name}"))
            said += self._lost(name)
        return list(dict.fromkeys(said))

    def _lost(self, name: str) -> list[str]:
        """Whether records of a metric are lost, or more of them in one arm."""
        compared = np.array([share > 0.0 or name in SHADOWED for share in self.plan.shares])
        rows, seen = self._rows[compared].sum(axis=0), self._seen[name][compared].sum(axis=0)
        if rows.min() == 0 or not any(one.both for one in self.guards if one.metric.name == name):
            return []
        shares = np.minimum(seen / rows, 1.0)
        whole = min(float(seen.sum() / rows.sum()), 1.0)
        error = math.sqrt(whole * (1.0 - whole) * float((1.0 / rows).sum()))
        if name in KNOWN and shares.min() < self.plan.present:
            return [f"{name} is missing in {1 - shares.min():.1%} of the requests of an arm: records are lost"]
        if abs(shares[1] - shares[0]) > _LOPSIDED * error and error > 0:
            return [f"{name} is known of {shares[0]:.1%} of the baseline's requests, {shares[1]:.1%} of the canary's"]
        return []

    def standing(self) -> list[Standing]:
        """What is known of each guardrail, of the goal and of the sample ratio."""
        goal = [self._goal_standing()] if self.goal else []
        return [*(self._guard_standing(one) for one in self.guards), *goal, *self._ratio_standing()]

    def _guard_standing(self, one: Guard) -> Standing:
        n = self._n(one.metric.name)
        certain = one.safe(self.plan.stages[-1])
        state: Any = "broken" if one.harm else "met" if certain else "open" if n[1] else "missing"
        return Standing(
            kind="guardrail", text=one.guardrail.text, n=n, span=one.span(), state=state, evidence=one.against(),
            needed=-math.log(one.alpha), words=found_of(one, n),
        )  # fmt: skip

    def _goal_standing(self) -> Standing:
        goal = self.goal
        assert goal is not None
        span, n = goal.span(), self._n(goal.metric.name)
        state: Any = "broken" if goal.harm else "met" if goal.met else "open" if min(n) else "missing"
        when = "at its horizon" if goal.time >= 1 else f"{goal.time:.0%} of its horizon"
        most = "" if math.isinf(goal.needed) else f", {goal.needed:.2f} were needed at the last look"
        words = f"difference {span.words(goal.metric.unit)} (z = {goal.z()[0]:.2f}{most}; {when})"
        return Standing(
            kind="goal", text=goal.goal.text, n=n, span=span, state=state, evidence=goal.z()[0],
            needed=goal.needed if math.isfinite(goal.needed) else None, words=words,
        )  # fmt: skip

    def _ratio_standing(self) -> list[Standing]:
        counts = self.ratio.counts()
        if not counts:
            return []
        return [
            Standing(
                kind="sample ratio", text="baseline and canary get equal shares", n=(counts[0], counts[1]),
                state="met" if not self._ratio_off else "missing", evidence=self.ratio.evidence,
                needed=-math.log(self.plan.ratio_alpha), words=self._ratio_words() if self._ratio_off else "",
            )
        ]  # fmt: skip

    def _ratio_words(self) -> str:
        baseline, canary = self.ratio.counts()
        return (
            f"sample ratio: {baseline:,} units met the baseline and {canary:,} the canary, where equal shares were "
            "planned; the arms cannot be compared: find out why before you start again"
        )

    def _n(self, name: str) -> tuple[int, int]:
        baseline, canary = self._seen[name].sum(axis=0)
        return int(baseline), int(canary)

    # what is kept

    def state(self) -> dict[str, Any]:
        """All that it knows, as JSON has it; `restore` takes it."""
        return {
            "plan": self.plan.digest(), "stage": self.stage, "rows": self._rows.tolist(),
            "seen": {name: seen.tolist() for name, seen in self._seen.items()},
            "guards": [one.state() for one in self.guards], "goal": self.goal.state() if self.goal else None,
            "ratio": self.ratio.state(), "ratio_off": self._ratio_off, "last": self._last.model_dump(),
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> Self:
        """Know what was known when `state` was taken, and no more.

        Raises:
            UsageError: it is no state, or that of another plan.
        """
        try:
            if state["plan"] != self.plan.digest():
                raise ValueError("it is of another plan")
            fresh = type(self)(self.plan)
            fresh._restore(state)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise UsageError(
                f"the state cannot be restored ({type(error).__name__}: {error}): give what `state` of a judge of the "
                "same plan gave"
            ) from None
        self.__dict__.update(fresh.__dict__)
        return self

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.stage = int(state["stage"])
        self._rows = np.asarray(state["rows"], dtype=np.int64).reshape(self._rows.shape)
        for name, seen in self._seen.items():
            self._seen[name] = np.asarray(state["seen"][name], dtype=np.int64).reshape(seen.shape)
        for one, kept in zip(self.guards, state["guards"], strict=True):
            one.restore(kept)
        if self.goal:
            self.goal.restore(state["goal"])
        self.ratio = SampleRatio.of(state["ratio"])
        self._ratio_off = bool(state["ratio_off"])
        self._last = Verdict.model_validate(state["last"])


def _column(name: str, given: Any, size: int) -> Floats:
    """One value an observation, NaN where it is missing."""
    column = np.atleast_1d(np.asarray(given, dtype=np.float64))
    if column.shape != (size,):
        raise UsageError(
            f"{name} has the shape {column.shape}, where {size} observations were given: pass one value each"
        )
    return column
