"""The harness on this choice: the known answer is found, the planted loser never wins, twins are a tie."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from weigh import catalog, decide
from weigh.choice import Block
from weigh.engine.inline import InlineEngine
from weigh.retrain.cadence import CadenceChoice
from weigh.retrain.cadence._toy import turning

CHOICE = CadenceChoice()


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return CHOICE.toy(tmp_path_factory.mktemp("toy"), seed=0)


def race(task, folder, **how):
    return decide("retrain/cadence", task, ledger=folder / "ledger.db", records=None, engine=InlineEngine(), **how)


def test_the_toys_known_answer_is_chosen(toy, tmp_path):
    decision = race(toy, tmp_path)
    assert decision.chosen == "weekly"
    dropped = {standing.option for standing in decision.standings if standing.outcome == "dominated"}
    assert {"never", "daily", "monthly", "continuous", "on_drift", "on_error"} <= dropped
    assert {standing.blocks for standing in decision.standings} == {48}
    assert decision.confirmation.status == "confirmed"


def test_where_nothing_drifts_frozen_is_never_beaten(tmp_path):
    path = turning(tmp_path / "h.parquet", np.zeros(14 + 7 * 24), rows=40, noise=0.05, seed=3)
    task = {"history": path, "time": "time", "label": "label", "features": ("x0", "x1"), "train_days": 14}
    decision = race({**task, "retraining_cost": 20.0}, tmp_path)
    assert decision.chosen == "never"
    assert {s.option for s in decision.standings if s.outcome == "dominated"} >= {"daily", "weekly"}


def test_twins_tie_and_the_loser_never_wins(toy, tmp_path):
    """Each seed throws the twins' dice anew; the history stays the same."""
    verdicts, chosen = Counter(), Counter()
    options = [*CHOICE.twins(), CHOICE.loser()]
    for seed in range(5):
        decision = race(toy, tmp_path, options=options, seed=seed)
        verdicts[decision.verdict] += 1
        chosen[decision.chosen] += 1
        assert decision.standing(CHOICE.loser().spec).outcome == "dominated"
    assert verdicts["tie"] >= 4
    assert set(chosen) <= {twin.spec for twin in CHOICE.twins()}


def test_even_the_baseline_beats_the_loser(toy, tmp_path):
    decision = race(toy, tmp_path, options=[CHOICE.loser()])
    assert (decision.verdict, decision.chosen) == ("chosen", "never")


def test_fresh_blocks_come_after_those_that_were_raced(toy):
    bench = CHOICE.open(toy, seed=0)
    assert bench.blocks.race == 48 and bench.blocks.fresh == 24
    assert bench.date_of((bench.blocks.race - 1) * 7) < bench.date_of(bench.blocks.race * 7)


def test_blocks_add_up_to_the_bill(toy):
    bench = CHOICE.open(toy, seed=0)
    policy = bench.prepare(catalog.find(CHOICE, "weekly"))
    trials = [bench.trial(policy, Block(index=index, seed=0)) for index in range(72)]
    course, rows = policy.course, 40 * 504
    assert sum(t["cost"][0] for t in trials) * bench.scale == pytest.approx(course.loss.sum() + 10 * 71)
    assert np.mean([t["cost"][0] for t in trials]) == pytest.approx((course.loss.sum() + 10 * 71) / rows)
    assert np.mean([t["error"][0] for t in trials]) == pytest.approx(course.loss.sum() / rows)
    assert np.mean([t["retrainings"][0] for t in trials]) * 504 == pytest.approx(71)
    assert sum(t["regret"][0] for t in trials) >= 0


def test_the_same_run_in_a_worker_gives_the_same_decision(toy, tmp_path):
    how = {"options": ["weekly", "daily"], "seed": 4}
    inline = race(toy, tmp_path, **how)
    local = decide("retrain/cadence", toy, ledger=tmp_path / "other.db", records=None, **how)
    assert local.answer == inline.answer
    assert local.standing("weekly").measured == inline.standing("weekly").measured
