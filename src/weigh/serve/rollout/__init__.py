"""serve/rollout: how should a new version come to the users?

The requests of the past are replayed, with releases of which is known whether they are good or bad: equal, better, or
with a regression planted in errors, in the business metric or in the tail of the latency. Each option releases all of
them on the same requests, and sees of each request only what the arm that served it shows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, final

from pydantic import Field, field_validator

from weigh.choice import Choice, Measure, Option, Task

if TYPE_CHECKING:
    from weigh.serve.rollout._bench import Replays
    from weigh.serve.rollout._traffic import Traffic

__all__ = ["Outcome", "Release", "Rollout", "RolloutTask"]

Outcome: TypeAlias = Literal["ship", "roll back", "hold"]


class RolloutTask(Task):
    """A history of requests, what a release must keep to, and the regressions that a rollout should catch."""

    history: Path = Field(description="table of past requests, one row each, in order of time")
    time: str = Field(description="column: when the request came (a date, a datetime, or seconds)")
    error: str = Field("", description="column: 1 where the request failed; empty: none ever did")
    latency: str = Field("", description="column: how long it took, ms; empty: latency is not replayed")
    metric: str = Field("", description="column: a business metric of each request, such as conversion; empty: none")
    low: float = Field(0.0, description="least value of the metric")
    high: float = Field(1.0, description="greatest value of the metric")
    guardrails: tuple[str, ...] = Field(
        ("error <= baseline + 0.01",),
        description="what a release must keep to, such as 'p99(latency) <= 1.2x baseline'",
    )
    goal: str = Field("", description="what it should better, such as 'conversion > baseline'; empty: it may be equal")
    regressions: tuple[float, ...] = Field(
        (0.01, 0.02, 0.05), description="regressions to plant in errors and metric, as shares of their range"
    )
    improvement: float = Field(0.02, ge=0, description="what a good release betters, where there is a goal; as a share")
    tail: float = Field(10.0, ge=1, description="how many times slower one window in ten of a bad release is")
    alpha: float = Field(0.05, gt=0, lt=0.5, description="chance of a false verdict that is allowed")
    stages: tuple[float, ...] = Field((0.01, 0.05, 0.25, 0.5, 1.0), description="shares of a ramp, the last is all")
    window: float = Field(60.0, gt=0, description="seconds of a window of latency")
    days: float = Field(7.0, gt=0, description="days of history that one release has")
    ticks: int = Field(56, ge=4, le=2000, description="how often an option acts in that time")
    scale: float = Field(1.0, gt=0, description="requests in a replay, as a multiple of those of the history")
    delay_cost: float = Field(
        0.2, ge=0, le=1, description="what it costs that a good release is late, of what a bad one costs its users"
    )
    replays: int = Field(200, ge=1, le=100_000, description="replays of each kind of release at most")

    @field_validator("guardrails", mode="before")
    @classmethod
    def _one(cls, given: object) -> object:
        return (given,) if isinstance(given, str) else given


class Release(Option, ABC):
    """A way to bring a new version to the users: sees replayed traffic as it is served, and ends with a verdict."""

    @abstractmethod
    def release(self, traffic: Traffic) -> Outcome:
        """Serve until the verdict: "ship" (all traffic meets the new version from now on), "roll back", or "hold".

        Args:
            traffic: `traffic.serve(canary, baseline)` serves until the next tick with these shares, and gives what was
                seen of either arm, or None when the history is over; `traffic.plan` says what must be kept to.
        """


def _share(name: str, better: Literal["lower", "higher"], meaning: str, unit: str = "of releases") -> Measure:
    return Measure(name=name, unit=unit, better=better, kind="mean", meaning=meaning, tolerance=0.01)


@final
class Rollout(Choice):
    """Replace, shadow, canary, A/B or bandit?"""

    name = "serve/rollout"
    question = "How should a new version come to the users?"
    measures = (
        _share(
            "cost", "lower", "requests that a bad release served, and those that a good one did not yet, weighed by "
            "the task's `delay_cost`; as a share of all in the time that a release has", "of requests",
        ),
        _share("bad_shipped", "lower", "a release with a planted regression is shipped to all users"),
        _share("caught", "higher", "a release with a planted regression is rolled back"),
        _share("false_alarms", "lower", "a release without a regression is rolled back"),
        _share("exposed", "lower", "requests that a bad release served, of all in the time", "of requests"),
        _share("detection", "lower", "time until a bad release is rolled back, or all of it", "of the time"),
        _share("delay", "lower", "time until a good release serves all users, or all of it", "of the time"),
    )  # fmt: skip
    cost = "delay"
    baseline = "replace"
    require = ("bad_shipped <= 0.1",)
    task = RolloutTask
    option = Release
    assumptions = {
        "requests are as they were in the history": "race again on newer history",
        "regressions are of the planted sizes and kinds": "an incident that no guardrail names: add one, race again",
        "the baseline is a fresh instance that starts with the canary": "the arms' start times in the log differ",
    }

    def open(self, task: RolloutTask, seed: int) -> Replays:
        from weigh.serve.rollout._bench import Replays

        return Replays(task, seed)

    def toy(self, folder: Path, seed: int = 0) -> RolloutTask:
        """A day of requests of which 4 % fail and 30 % convert; a bad release fails or converts 10 points worse."""
        from weigh.serve.rollout._planted import toy

        return toy(folder, seed)

    def loser(self) -> Release:
        """A canary that is shipped as soon as no test at .05 says otherwise."""
        from weigh.serve.rollout._planted import Hasty

        return Hasty()

    def twins(self) -> tuple[Release, Release]:
        """Two canaries, each of which loses other records at random."""
        from weigh.serve.rollout._planted import Forgetful

        return Forgetful(seed=1), Forgetful(seed=2)
