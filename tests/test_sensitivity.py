"""What would change an answer is found from its evidence: planted flukes, drifts and likenesses are seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from coins import Biased, Coins, CoinTask, Fair

from weigh import flow
from weigh.constraint import Constraint
from weigh.decision import Decision, Lock, judge, replay
from weigh.engine.inline import InlineEngine
from weigh.evidence import Evidence, Where
from weigh.grounds import Ground, grounds
from weigh.sensitivity import Probe, by_blocks, by_units, price, probes, told

TOSSES = 40


def locked(*options: Biased, blocks: int = 40, **asked: object) -> Lock:
    question = flow.Question(choice="coins:Coins", **{"epsilon": 0.0, **asked})
    with InlineEngine() as engine:
        task = CoinTask(blocks=blocks, fresh=2, tosses=TOSSES)
        return flow.lock(Coins(), question, task, [Fair(), *options], engine)


def shown(lock: Lock, blocks: int, heads: Callable[[str, int], float], weight: Callable[[str], float] = lambda _: 1.0):
    """Evidence whose blocks show just so many heads, in a shuffled order."""
    rng = np.random.default_rng(0)
    rows = []
    for block in range(blocks):
        for option in lock.options:
            tossed = np.zeros(TOSSES)
            tossed[: round(TOSSES * heads(option.spec, block))] = 1.0
            rows.append(
                Evidence(
                    lock=lock.digest(), option=option.spec, settings=option.settings, block=block, seed=block,
                    values={"heads": rng.permutation(tossed).tolist(), "weight": weight(option.spec)},
                    where=Where.here(), at="2026-01-01T00:00:00Z",
                )
            )  # fmt: skip
    return rows


def judged(lock: Lock, rows: Sequence[Evidence]) -> tuple[Decision, list[Ground], dict[str, Probe]]:
    made = judge(lock, rows)
    calls = grounds(lock, made, replay(lock, rows))
    found = {probe.what: probe for probe in probes(lock, rows, made, calls)}
    return made, calls, found


def test_the_closest_call_comes_first():
    lock = locked(Biased(p=0.6), Biased(p=0.8), require=["heads >= 0.3"])
    made, calls, _ = judged(lock, shown(lock, 20, lambda name, _: {"fair": 0.45, "biased:p=0.6": 0.6}.get(name, 0.8)))
    assert made.chosen == "biased:p=0.8"
    assert told(lock, calls[0]) == "biased:p=0.8 is better than biased:p=0.6"
    assert [call.slack for call in calls] == sorted(call.slack for call in calls)
    assert all(call.slack >= 1 and call.margin >= 0 for call in calls)
    assert calls[0].gap == pytest.approx(0.2)


def test_values_by_block_are_what_the_claim_is_about():
    lock = locked(Biased(p=0.8), require=["heads >= baseline - 0.1"])
    rows = shown(lock, 12, lambda name, block: 0.5 if name == "fair" else 0.75 + 0.05 * (block % 2))
    _, calls, _ = judged(lock, rows)
    for call in calls:
        assert list(by_blocks(lock, rows, call).values()) == pytest.approx([0.25, 0.3] * 6, abs=1e-9)
        units = np.reshape(by_units(lock, rows, call), (12, TOSSES))
        assert units.mean(axis=1) == pytest.approx([0.25, 0.3] * 6) and set(units.ravel()) <= {-1.0, 0.0, 1.0}


def test_neighbours_that_resemble_each_other_are_seen():
    lock = locked(Biased(p=0.6))
    what = "values resembled their neighbours"
    runs = shown(lock, 40, lambda name, block: 0.5 if name == "fair" else (0.95 if block // 5 % 2 else 0.35))
    found = judged(lock, runs)[2][what]
    assert found.effect == "no longer certain" and ", more than chance gives" in found.found
    steady = judged(lock, shown(lock, 40, lambda name, block: 0.5 if name == "fair" else 0.75))[2][what]
    assert steady.effect == "the same answer" and "no more than chance" in steady.found


def test_halves_that_disagree_are_seen():
    lock = locked(Biased(p=0.6))
    what = "what is measured changed as blocks go by"
    found = judged(lock, shown(lock, 40, lambda name, block: 0.5 if name == "fair" else (0.95 if block < 20 else 0.45)))
    assert found[2][what].effect == "no longer certain" and "0.45 in the first" in found[2][what].found
    steady = judged(lock, shown(lock, 40, lambda name, block: 0.5 if name == "fair" else 0.7))
    assert steady[2][what].effect == "the same answer"


def test_blocks_that_carry_a_claim_are_counted():
    lock = locked(Biased(p=0.6))
    rows = shown(lock, 20, lambda name, block: 0.5 if name == "fair" else (1.0 if block % 2 else 0.45))
    found = judged(lock, rows)[2]["the most favourable block were a fluke"]
    # ten of 0.5 and ten of -0.05: the mean of the rest falls below 0 once the tenth is left out
    assert "without its best 10 of 20 blocks" in found.found


def test_risk_and_tolerance_are_judged_again():
    lock = locked(Biased(p=0.6), epsilon=0.1)
    rows = shown(lock, 40, lambda name, _: 0.5 if name == "fair" else 0.65)
    made, _, found = judged(lock, rows)
    assert made.verdict == "chosen" and made.chosen == "biased:p=0.6"
    assert found["every difference mattered"].effect == "the same answer"
    wide = judge(lock.model_copy(update={"epsilon": 0.2}), rows)
    changed = found["differences in heads up to 0.2 did not matter"].effect
    assert (changed == "the same answer") == (wide.verdict == "chosen")


def test_the_tightest_bound_is_the_end_of_the_interval():
    lock = locked(Biased(p=0.8), require=["heads >= 0.6"])
    made, _, found = judged(lock, shown(lock, 20, lambda name, _: 0.3 if name == "fair" else 0.8))
    (what,) = (name for name in found if "tightened" in name)
    bound = float(what.rpartition(">= ")[2].rstrip("'"))
    low = made.standing("biased:p=0.8").checks[0].interval.low
    assert low is not None and 0.6 <= bound <= low < bound + 0.001
    tightened = Constraint.parse(f"heads >= {bound}")
    assert judge(lock.model_copy(update={"constraints": (tightened,)}), []).verdict == "undecided"


def test_a_price_is_the_lead_of_what_a_constraint_ruled_out():
    lock = locked(Biased(p=0.8), Biased(p=0.9, weight=3.0), require=["weight <= 2"])
    rows = shown(
        lock, 20, lambda name, _: {"fair": 0.4, "biased:p=0.8": 0.7}.get(name, 0.9),
        lambda name: 3.0 if "weight" in name else 1.0,
    )  # fmt: skip
    made = judge(lock, rows)
    assert made.chosen == "biased:p=0.8"
    paid = price(lock, rows, made, lock.constraints)
    assert paid.option == "biased:p=0.9,weight=3.0" and paid.lead is not None
    assert paid.lead.estimate == pytest.approx(0.2) and paid.lead.low is not None and paid.lead.low > 0


def test_an_answer_without_a_leader_asks_for_more_risk_only():
    lock = locked(Biased(p=0.6), require=["heads >= 0.55"])
    made, _, found = judged(lock, shown(lock, 2, lambda name, _: 0.55))
    assert made.verdict == "undecided" and len(found) == 1
