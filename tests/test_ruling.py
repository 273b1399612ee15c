"""What a race says, and in which words."""

from __future__ import annotations

import numpy as np

from weigh.answer import answer
from weigh.choice import Blocks, Measure
from weigh.constraint import Constraint
from weigh.decision import Lock, OptionLock, feed
from weigh.evidence import Evidence
from weigh.ruling import more_blocks, rule
from weigh.scale.race import Race

TIME = Measure(name="latency", unit="ms", better="lower", kind="time", meaning="time", tolerance=0.01)
RIGHT = Measure(name="accuracy", unit="share", better="higher", kind="mean", meaning="right answers", tolerance=0.01)
COST = Measure(name="cost", unit="", better="lower", kind="mean", meaning="cost", serial=True)


def asked(*options: str, objective: Measure = TIME, require: tuple[str, ...] = (), blocks: int = 50) -> Lock:
    measures = (objective,)
    return Lock(
        choice="tests/words", question="?", task={}, task_fingerprint="", baseline=options[0], measures=measures,
        options=tuple(OptionLock(spec=name, source="", settings={}) for name in options), objective=objective.name,
        cost=objective.name, constraints=tuple(Constraint.parse(text, measures) for text in require), alpha=0.004,
        epsilon=objective.tolerance, seed=0, blocks=Blocks(race=blocks, fresh=0), weigh="0",
    )  # fmt: skip


def said(lock: Lock, race: Race) -> str:
    ruling = rule(lock, race)
    return answer(lock, race, ruling, more_blocks(lock, race, ruling))


def test_what_runs_in_a_circle_is_not_decided():
    """b is left, but a, which c had beaten, beats it in two rounds of three."""
    lock = asked("a", "b", "c")
    race, rng = lock.race(), np.random.default_rng(0)
    rounds = np.array([(1.0, 2.0, 3.0), (2.0, 3.0, 1.0), (3.0, 1.0, 2.0)])[rng.integers(3, size=600)]
    race.add(0, {name: {"latency": rounds[:, place]} for place, name in enumerate("abc")})
    for name in "ac":
        race.runners[name].state, race.runners[name].by = "dominated", "b"
    ruling = rule(lock, race)
    assert (ruling.verdict, ruling.chosen, list(ruling.rivals)) == ("undecided", "b", ["a"])
    assert "but a may be better" in said(lock, race)


def test_a_small_risk_is_not_said_to_be_none():
    lock = asked("a", "b", objective=RIGHT)
    race, rng = lock.race(), np.random.default_rng(0)
    for block in range(20):
        race.add(block, {"a": {"accuracy": rng.random(200) < 0.6}, "b": {"accuracy": rng.random(200) < 0.9}})
        race.judge(block)
    assert said(lock, race) == "Choose b: it has the highest accuracy; wrong at most 0.4% of the time."


def test_a_series_is_about_as_sure_as_it_says():
    lock = asked("a", "b", objective=COST, blocks=60)
    race, rng = lock.race(), np.random.default_rng(0)
    for block in range(60):
        cost = {name: {"cost": float(np.clip(rng.normal(mean, 0.02), 0, 1))} for name, mean in (("a", 0.6), ("b", 0.2))}
        race.add(block, cost)
        race.judge(block)
    assert said(lock, race) == "Choose b: it has the lowest cost; wrong at most about 0.4% of the time."


def test_blocks_that_the_task_does_not_have_are_not_promised():
    lock = asked("a", "b", objective=RIGHT, require=("accuracy >= 0.7",), blocks=12)
    race, rng = lock.race(), np.random.default_rng(0)
    for block in range(12):
        race.add(block, {name: {"accuracy": rng.random(30) < 0.75} for name in "ab"})
        race.judge(block)
    assert "no option is certified to meet every constraint" in said(lock, race)
    assert said(lock, race).endswith("more blocks would settle it; the task has no more.")


def test_a_baseline_that_fails_leaves_nothing_to_refer_to():
    lock = asked("a", "b", objective=RIGHT, require=("accuracy >= baseline - 0.01",))
    race = lock.race()
    race.fail("a", "failed: no such file", 0)
    race.add(0, {"b": {"accuracy": [1.0]}})
    race.judge(0)
    assert race.settled()
    assert said(lock, race) == (
        "Nothing can be decided: constraints refer to a, which could not be measured (failed: no such file)."
    )


def test_a_replay_looks_at_every_limit_as_whoever_planned_did():
    """The second limit is certified by early blocks, the first by late ones, when those of the second look worse."""
    size = Measure(name="size", unit="MB", better="lower", kind="exact", meaning="size")
    measures = [size, RIGHT, RIGHT.model_copy(update={"name": "recall"})]
    lock = asked("a", "b", objective=size).model_copy(
        update={
            "measures": tuple(measures),
            "constraints": tuple(Constraint.parse(text, measures) for text in ("accuracy >= 0.5", "recall >= 0.5")),
        }
    )
    even = {"size": 1.0, "accuracy": [0.0, 1.0] * 50, "recall": [0.0, 1.0] * 50}
    late = {"size": 1.0, "accuracy": [1.0] * 400, "recall": [0.12] * 400}
    blocks = [even, even, *[even | {"recall": [0.9] * 100}] * 3, late]
    live, alone = lock.race(), lock.race()
    for block, values in enumerate(blocks):
        row = Evidence.model_construct(option="a", block=block, status="measured", values=values)
        feed(live, block, [row])
        alone.add(block, {"a": values})
        alone.judge(block)
    assert live.feasible("a")
    assert alone.feasible("a")
