"""A choice whose blocks are training rungs, through the whole flow: scikit-learn's learners on handwritten digits."""

from __future__ import annotations

from pathlib import Path

import pytest
from learners import Digits
from learners.linear import Linear
from learners.network import Network
from pydantic import ValidationError

from weigh import Ledger, decide
from weigh.checks import check_choice, check_option
from weigh.choice import Block, Blocks, Rung, content_digest
from weigh.cli.explain import of_decision, of_option
from weigh.decision import Decision, OptionLock, replay
from weigh.engine import Trial
from weigh.engine.inline import InlineEngine
from weigh.verify import verify

LEARNERS = "learners:Learners"
LOSER = Linear(rate=1e-7)
TWINS = [Linear(salt=1), Linear(salt=2)]


def learn(folder: Path, engine: InlineEngine | None = None, **asked: object) -> Decision:
    asked = {"options": [LOSER, *TWINS], "task": Digits(), **asked}
    return decide(
        LEARNERS, ledger=folder / "ledger.db", records=folder / "records", engine=engine or InlineEngine(),
        **asked,  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_loser_goes_at_the_first_rung_and_twins_tie_at_the_last(tmp_path: Path) -> None:
    decision = learn(tmp_path)
    loser = decision.standing(LOSER.spec)
    assert loser.outcome == "dominated" and loser.dropped_at is not None and loser.dropped_at < 4
    assert loser.why.endswith("at rung 1 of 3 (1 epoch)")
    assert decision.verdict == "tie" and {twin.spec for twin in TWINS} < set(decision.tied)
    assert "what was worse on an early rung (linear:rate=1e-07) would not have caught up" in decision.answer
    assert any("worse by more than 0.02 on an early rung" in what for what in decision.assumptions)
    assert decision.standing(TWINS[0].spec).measured["accuracy"].n == 4 * 150, "no rung's values but the last one's"
    assert decision.blocks == 12 and decision.measurements < decision.exhaustive


def test_its_record_is_judged_again_to_the_same_byte(tmp_path: Path) -> None:
    decision = learn(tmp_path)
    (record,) = (tmp_path / "records").iterdir()
    assert verify(record, tmp_path / "ledger.db").code == 0
    with Ledger(tmp_path / "ledger.db") as book:
        lock, rows = book.lock(decision.lock), book.evidence(decision.lock)
        race = replay(lock, rows)
        assert race.live() == list(decision.tied) and lock.blocks.rungs[1] == Rung(
            blocks=4, label="3 epochs", slack=0.02
        )
        told = {section.title: section.items for section in of_decision(lock, decision, rows)}
        assert any("at rung 1 of 3 (1 epoch)" in item for item in told["Why not the others"])
        assert any("worse by more than 0.02" in item for item in told["What re-opens it"])
        assert "at rung 1 of 3" in of_option(lock, decision, rows, LOSER.spec)[0].items[0]
    record.write_bytes(record.read_bytes().replace(b"3 epochs", b"4 epochs", 1))
    assert verify(record, tmp_path / "ledger.db").code == 3


class _Counts(InlineEngine):
    """Counts what it measures, and is killed at a block."""

    def __init__(self, killed_at: int = -1) -> None:
        super().__init__()
        self.killed_at, self.measured = killed_at, list[tuple[str, int]]()

    def measure(self, option: OptionLock, block: Block) -> Trial:
        if block.index == self.killed_at:
            raise KeyboardInterrupt
        self.measured.append((option.spec, block.index))
        return super().measure(option, block)


def test_a_run_that_was_killed_goes_on_in_its_rung(tmp_path: Path) -> None:
    whole = learn(tmp_path / "whole")
    killed, again = _Counts(killed_at=6), _Counts()
    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path / "parts", killed)
    assert learn(tmp_path / "parts", again).answer == whole.answer
    assert again.measured[0][1] == 6 and not set(killed.measured) & set(again.measured)


def test_the_nearest_that_was_left_behind_is_trained_to_the_end_on_fresh_blocks(tmp_path: Path) -> None:
    """A network starts slower than a linear learner and overtakes it: the answer says what it took for granted."""
    decision = learn(tmp_path, options=[Linear(), Network(), LOSER], task=Digits(slack=0.0, rows=400))
    assert decision.chosen == "linear" and decision.standing("network").outcome == "dominated"
    assert "(network, linear:rate=1e-07) would not have caught up" in decision.answer
    assert set(decision.confirmation.measured) >= {"linear", "network"}
    lenient = learn(tmp_path, options=[Linear(), Network(), LOSER], task=Digits(slack=0.2, rows=400))
    assert "network" in (lenient.chosen, *lenient.tied) and "network" not in lenient.answer.partition("granted")[2]


def test_what_a_cap_dropped_is_named_and_left_out_of_the_error_rate(tmp_path: Path) -> None:
    decision = learn(tmp_path, task=Digits(keep=2))
    left = [standing for standing in decision.standings if standing.why.startswith("not told apart when at most 2")]
    assert len(left) == 1 and left[0].option in {"linear", *(twin.spec for twin in TWINS)}
    assert f"It leaves out {left[0].option}: not told apart" in decision.answer
    (record,) = (tmp_path / "records").iterdir()
    assert verify(record, tmp_path / "ledger.db").code == 0


def test_a_choice_with_rungs_conforms() -> None:
    assert len(check_choice(LEARNERS).held) == 8
    assert not check_option(LEARNERS, "linear").skipped


def test_rungs_share_out_the_blocks() -> None:
    with pytest.raises(ValidationError, match="the rungs have 2 \\+ 3 blocks, the race 6"):
        Blocks(race=6, fresh=0, rungs=(Rung(blocks=2), Rung(blocks=3)))
    with pytest.raises(ValidationError, match="nothing goes on from the last rung"):
        Blocks(race=1, fresh=0, rungs=(Rung(blocks=1, keep=3),))


def test_blocks_without_rungs_have_the_digest_that_they_always_had() -> None:
    assert Blocks(race=6, fresh=2).digest() == content_digest({"race": 6, "fresh": 2, "population": None})
    rungs = Blocks(race=1, fresh=0, rungs=(Rung(blocks=1, label="all"),))
    assert Blocks.model_validate_json(rungs.model_dump_json()) == rungs
