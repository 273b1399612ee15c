"""The canary: errors of both verdicts by simulation, joined workers, a state that does not grow."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from weigh.scale.canary import Canary
from weigh.scale.gauge import Gauge, Limit

ERRORS = Gauge("errors", "mean", "lower")
P95 = Gauge("p95", "quantile", "lower", q=0.95)
MORE = Limit("errors", "<=", 0.02, "difference")
SLO = Limit("p95", "<=", 2.0)


def verdict(canary: Canary, rates: tuple[float, float], share: float, seed: int, requests: int = 3000) -> str:
    rng = np.random.default_rng(seed)
    arms, draws = rng.random(requests) < share, rng.random(requests)
    for place in range(requests):
        arm = "canary" if arms[place] else "control"
        canary.add(arm, {"errors": draws[place] < rates[0 if arms[place] else 1]})
        if place % 25 == 0 and (now := canary.judge()) != "live":
            return now
    return canary.judge()


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_what_lies_on_the_limit_is_promoted_or_rolled_back_at_most_alpha_of_the_time(share: float) -> None:
    found = [verdict(Canary([ERRORS], [MORE], 0.1), (0.07, 0.05), share, seed, 1000) for seed in range(150)]
    assert found.count("promote") <= 22 and found.count("roll back") <= 22, "15 expected at most, two sigma above"


def test_a_bad_version_is_rolled_back_and_a_good_one_promoted() -> None:
    bad = [verdict(Canary([ERRORS], [MORE], 0.05), (0.15, 0.05), 0.2, seed) for seed in range(20)]
    good = [verdict(Canary([ERRORS], [MORE], 0.05), (0.02, 0.05), 0.2, seed) for seed in range(20)]
    assert bad.count("roll back") >= 19 and good.count("promote") >= 19


def test_a_slow_version_breaks_its_slo() -> None:
    rng = np.random.default_rng(0)
    slow, quick = Canary([P95], [SLO], 0.05), Canary([P95], [SLO], 0.05)
    for value in rng.exponential(1.0, 2000):  # p95 is 3.0, then 1.5
        slow.add("canary", {"p95": value})
        quick.add("canary", {"p95": value / 2})
        quick.add("control", {"p95": 100.0})
    assert (slow.judge(), quick.judge()) == ("roll back", "promote")
    assert quick.limit_interval(SLO).contains(np.exp(-4.0))


def test_workers_are_joined_and_the_state_does_not_grow() -> None:
    rng = np.random.default_rng(1)
    workers, whole = (
        [Canary([ERRORS, P95], [MORE, SLO], 0.05) for _ in range(3)],
        Canary([ERRORS, P95], [MORE, SLO], 0.05),
    )
    sizes = []
    for step in range(6000):
        arm = "canary" if step % 2 else "control"
        rate = 0.02 if arm == "canary" else 0.05
        values = {"errors": float(rng.random() < rate), "p95": float(rng.exponential(0.4))}
        workers[step // 2 % 3].add(arm, values)
        whole.add(arm, values)
        if step in (2000, 5999):
            sizes.append(len(json.dumps(whole.state())))
    first, *others = workers
    for other in others:
        first.merge(other)
    kept = Canary([ERRORS, P95], [MORE, SLO], 0.05).restore(json.loads(json.dumps(first.state())))
    for limit in (MORE, SLO):
        assert first.limit_interval(limit) == whole.limit_interval(limit) == kept.limit_interval(limit)
    assert kept.judge() == whole.judge() == "promote"
    assert sizes[1] < 1.2 * sizes[0]


def test_what_cannot_be_held_live_is_refused() -> None:
    with pytest.raises(ValueError, match="a quantile against a number"):
        Canary([P95], [Limit("p95", "<=", 1.1, "ratio")], 0.05)
    with pytest.raises(ValueError, match="same limits"):
        Canary([ERRORS], [MORE], 0.05).merge(Canary([ERRORS], [MORE], 0.1))
    with pytest.raises(ValueError, match="same limits"):
        Canary([ERRORS], [MORE], 0.05).merge(Canary([Gauge("errors", "mean", "lower", high=10.0)], [MORE], 0.05))
    with pytest.raises(ValueError, match="promoted unseen"):
        Canary([ERRORS], [], 0.05)
    with pytest.raises(ValueError, match="alpha = 0 is not an error rate"):
        Canary([ERRORS], [MORE], 0)


@pytest.mark.parametrize("arm, values, why", [
    ("canary", {"errors": 17.0}, r"errors = 17.0 is not a finite number in \[0, 1\]"),
    ("canary", {"errors": 0.0, "p95": float("nan")}, "p95 = nan is not a finite number"),
    ("Control", {"errors": 0.0}, "there is no arm 'Control'"),
])  # fmt: skip
def test_an_observation_that_is_none_is_refused_whole(arm: Any, values: dict[str, float], why: str) -> None:
    canary = Canary([ERRORS, P95], [MORE, SLO], 0.05)
    before = canary.state()
    with pytest.raises(ValueError, match=why):
        canary.add(arm, values)
    assert canary.state() == before


def edited(state: Any, *path: Any, to: Any) -> Any:
    copy = json.loads(json.dumps(state))
    *way, last = path
    place = copy
    for key in way:
        place = place[key]
    place[last] = to
    return copy


def test_a_state_that_was_edited_or_is_of_other_limits_is_refused_and_changes_nothing() -> None:
    canary, other = Canary([ERRORS, P95], [MORE, SLO], 0.05), Canary([ERRORS], [MORE], 0.05)
    for _ in range(50):
        canary.add("canary", {"errors": 0.0, "p95": 0.1})
    state = canary.state()
    states = [
        {},
        other.state(),
        edited(state, "watches", to=[]),
        edited(state, "met", to=[7]),
        edited(state, "watches", 0, "tally", to={}),
        edited(state, "watches", 0, "tally", "n", to=-5),
        edited(state, "watches", 0, "counts", to=[1]),
    ]
    for one in states:
        with pytest.raises(ValueError, match="the state cannot be restored"):
            canary.restore(one)
        assert canary.state() == state
