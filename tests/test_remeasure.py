"""What a verdict rests on is measured again: it holds, is contradicted, or is not settled, at a stated error rate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coins import Biased, Coins, CoinTask, Fair
from learners import Digits
from learners.linear import Linear

from weigh import Ledger, UsageError, decide, flow
from weigh.decision import Decision, Lock, judge
from weigh.engine.inline import InlineEngine
from weigh.evidence import Evidence, Where
from weigh.flow import Event
from weigh.ledger import Edited
from weigh.remeasure import Remeasured, heard, remeasure, remeasurements
from weigh.verify import verify

TASK = CoinTask(blocks=40, fresh=4, tosses=30)


def decided(folder: Path, *options: Any, **asked: Any) -> tuple[Path, Decision]:
    """A record in the folder, with its decision."""
    asked = {"task": TASK, "options": options or [Biased(p=0.8), Biased(p=0.6)], **asked}
    made = decide("coins:Coins", ledger=folder / "ledger.db", records=folder, engine=InlineEngine(), **asked)
    return next(path for path in folder.glob("*.md") if made.lock[7:19] in path.name), made


def again(record: Path, **asked: Any) -> Remeasured:
    return remeasure(record, record.parent / "ledger.db", engine=InlineEngine(), **asked)


def rows_of(folder: Path, lock: str) -> list[Evidence]:
    with Ledger(folder / "ledger.db", readonly=True) as book:
        return book.evidence(lock)


def test_a_true_verdict_holds_and_its_record_still_verifies(tmp_path: Path):
    record, made = decided(tmp_path)
    found = again(record)
    assert found.code == 0 and found.text.startswith("holds: no rival is better than biased:p=0.8")
    assert found.holding is not None and {one.found for one in found.holding.findings} == {"again"}
    assert verify(record, tmp_path / "ledger.db").code == 0
    assert {row.seed for row in rows_of(tmp_path, found.lock)}.isdisjoint(r.seed for r in rows_of(tmp_path, made.lock))


def test_asked_again_it_measures_nothing_and_says_the_same(tmp_path: Path):
    record, _ = decided(tmp_path)
    first = again(record, seed=5)
    before = rows_of(tmp_path, first.lock)
    assert again(record, seed=5) == first
    assert rows_of(tmp_path, first.lock) == before
    assert again(record, seed=6).lock != first.lock


def test_a_run_that_was_stopped_goes_on(tmp_path: Path):
    record, asked = decided(tmp_path, Biased(p=0.62), Biased(p=0.5))

    def stop(event: Event) -> None:
        if event.kind == "block" and event.block == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        again(record, seed=5, watch=stop)
    with Ledger(tmp_path / "ledger.db") as book:
        (stopped,) = {lock.digest() for lock in book.locks()} - {asked.lock}
        kept = book.evidence(stopped)
    assert {row.block for row in kept} == {0, 1, 2}
    found = again(record, seed=5)
    whole = rows_of(tmp_path, found.lock)
    assert whole[: len(kept)] == kept and len(whole) > len(kept)
    assert found.code == 0


def test_a_budget_is_no_part_of_the_question(tmp_path: Path):
    record, _ = decided(tmp_path, Biased(p=0.65), Biased(p=0.5))
    short = again(record, seed=7, budget=1)
    assert short.code == 5 and "agrees so far" in short.text and "more block" in short.text
    assert short.holding is not None and short.holding.blocks == 1
    whole = again(record, seed=7)
    assert whole.lock == short.lock and whole.code == 0


def test_an_option_that_became_worse_is_contradicted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    record, _ = decided(tmp_path, require=["heads >= 0.55"])
    monkeypatch.setattr(Biased, "heads", lambda self, rng, tosses: rng.random(tosses) < self.p - 0.5)
    found = again(record)
    assert found.code == 7 and "biased:p=0.8 breaks 'heads >= 0.55'" in found.text


def test_a_better_rival_contradicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    record, _ = decided(tmp_path)
    monkeypatch.setattr(Biased, "heads", lambda self, rng, tosses: rng.random(tosses) < 1.4 - self.p)
    found = again(record)
    assert found.code == 7 and "biased:p=0.6 is better than biased:p=0.8 in heads by 0." in found.text


def test_what_cannot_be_measured_contradicts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    record, _ = decided(tmp_path)

    def bent(self: Biased, rng: Any, tosses: int) -> Any:
        raise RuntimeError("the coin is bent")

    monkeypatch.setattr(Biased, "heads", bent)
    found = again(record)
    assert found.code == 5 and "could not be measured (failed: RuntimeError: the coin is bent" in found.text


def test_where_no_option_was_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    record, made = decided(tmp_path, require=["heads >= 0.95"])
    assert made.verdict == "none" and again(record).text.startswith("holds: every option that came close breaks")
    monkeypatch.setattr(Biased, "heads", lambda self, rng, tosses: np.ones(tosses))
    found = again(record, seed=9)
    assert found.code == 7 and "meets every constraint" in found.text


def test_twins_that_were_not_told_apart_are_not_told_apart_again(tmp_path: Path):
    record, made = decided(tmp_path, Biased(stream=1), Biased(stream=2), epsilon=0.0)
    assert made.verdict == "tie"
    found = again(record)
    assert found.code == 0 and found.holding is not None
    assert "tied" in {one.found for one in found.holding.findings}
    assert "again not told apart from" in found.text
    assert found.holding.blocks >= made.blocks


def test_an_edited_record_is_refused_and_nothing_is_measured(tmp_path: Path):
    record, _ = decided(tmp_path)
    record.write_text(record.read_text().replace("biased", "biasad", 1))
    files = {path: path.read_bytes() for path in tmp_path.glob("ledger.db")}
    assert again(record).code == 3
    assert {path: path.read_bytes() for path in tmp_path.glob("ledger.db")} == files
    (tmp_path / "ledger.db").unlink()
    assert again(record).code == 3


def test_missing_evidence_is_said(tmp_path: Path):
    record, _ = decided(tmp_path)
    assert remeasure(record, tmp_path / "away.db").code == 4


def test_what_decided_nothing_cannot_hold(tmp_path: Path):
    record, made = decided(tmp_path, Biased(p=0.52), Biased(p=0.5), budget=2, epsilon=0.0)
    assert made.verdict == "undecided"
    with pytest.raises(UsageError, match="decided nothing that could be measured again"):
        again(record)


def test_the_same_seed_is_refused(tmp_path: Path):
    record, _ = decided(tmp_path)
    with pytest.raises(UsageError, match="type another --seed"):
        again(record, seed=0)


# on another machine


def test_files_that_lie_elsewhere(tmp_path: Path):
    notes = tmp_path / "notes.txt"
    notes.write_text("heads up")
    record, _ = decided(tmp_path, task=TASK.model_copy(update={"notes": notes}))
    moved = notes.rename(tmp_path / "moved.txt")
    with pytest.raises(UsageError, match="type where it lies: --task notes=PATH"):
        again(record)
    with pytest.raises(UsageError, match=r"has no file 'note' \(it has notes\)"):
        again(record, task={"note": str(moved)})
    assert again(record, task={"notes": str(moved)}).code == 0
    moved.write_text("tails up")
    with pytest.raises(UsageError, match="has changed since"):
        again(record, task={"notes": str(moved)})


MINE = """
from coins import Coin

class Mine(Coin):
    \"\"\"Mine.\"\"\"

    def heads(self, rng, tosses):
        return rng.random(tosses) < 0.9
"""


def test_an_option_whose_file_lies_elsewhere(tmp_path: Path):
    mine = tmp_path / "mine.py"
    mine.write_text(MINE)
    record, made = decided(tmp_path, str(mine), Biased(p=0.6))
    assert made.chosen == "mine"
    (tmp_path / "there").mkdir()
    moved = mine.rename(tmp_path / "there" / "mine.py")
    with pytest.raises(UsageError, match=r"type where the same file lies: --option PATH/mine\.py"):
        again(record)
    assert again(record, options=[str(moved)]).code == 0
    moved.write_text(MINE.replace("0.9", "0.91"))
    with pytest.raises(UsageError, match="not here or was changed"):
        again(record, options=[str(moved)])
    with pytest.raises(UsageError, match=r"there is no file nobody\.py: type where"):
        again(record, options=["nobody.py"])


def test_with_what_an_export_holds(tmp_path: Path):
    record, made = decided(tmp_path)
    with Ledger(tmp_path / "ledger.db") as book:
        rows = list(book.export())
    with Ledger(tmp_path / "other.db") as other:
        assert other.load(rows) == (len(rows), ())
        assert list(other.export()) == rows
    assert verify(record, tmp_path / "other.db").code == 0
    assert remeasure(record, tmp_path / "other.db", engine=InlineEngine()).code == 0
    evidence = next(row for row in rows if row["table"] == "weigh_evidence")
    evidence["body"]["seconds"] += 1
    with Ledger(tmp_path / "third.db") as third:
        with pytest.raises(Edited):
            third.load(rows)
        assert third.decision(made.lock) is None


def test_the_ledger_remembers(tmp_path: Path):
    record, made = decided(tmp_path)
    found = again(record, seed=5)
    again(record, seed=6)
    with Ledger(tmp_path / "ledger.db", readonly=True) as book:
        kept = remeasurements(book, book.lock(made.lock), made)
        assert [row["lock"] for row in book.decisions()] == [made.lock]
    assert [one.seed for one in kept] == [5, 6]
    assert kept[0] == found.model_copy(update={"verified": ""})


def test_of_training_rungs_the_last_is_measured_again(tmp_path: Path):
    made = decide(
        "learners:Learners", Digits(blocks=3, rows=100), options=[Linear(), Linear(rate=1e-5)],
        ledger=tmp_path / "ledger.db", records=tmp_path, engine=InlineEngine(),
    )  # fmt: skip
    assert made.verdict in ("chosen", "tie")
    found = again(next(tmp_path.glob("*.md")))
    assert found.code == 0, found.text
    assert {row.block for row in rows_of(tmp_path, found.lock)} <= set(range(6, 13))


# the error rate


def locked(**asked: Any) -> Lock:
    question = flow.Question(choice="coins:Coins", **asked)
    options = [Fair(), Biased(p=0.5, stream=1)]
    with InlineEngine() as engine:
        return flow.lock(Coins(), question, CoinTask(blocks=3, fresh=2, tosses=200), options, engine)


def tossed(lock: Lock, seed: int, heads: Callable[[str], float]) -> list[Evidence]:
    """Evidence on every block, with a chance of heads by option."""
    rng, where = np.random.default_rng(seed), Where.here()
    return [
        Evidence(
            lock=lock.digest(), option=option.spec, settings=option.settings, block=block, seed=block,
            values={"heads": (rng.random(200) < heads(option.spec)).astype(float).tolist(), "weight": 1.0},
            where=where, at="2026-01-01T00:00:00Z",
        )
        for block in range(lock.blocks.race)
        for option in lock.options
    ]  # fmt: skip


def statuses(lock: Lock, made: Decision, runs: int, heads: Callable[[str], float]) -> list[str]:
    return [heard(made, lock, tossed(lock, seed, heads)).status for seed in range(runs)]


def test_a_verdict_that_is_barely_true_or_false_is_seldom_called_otherwise():
    lock = locked(require=["heads >= 0.6"], epsilon=0.0, alpha=0.1)
    made = judge(lock, tossed(lock, 1, lambda name: 0.9 if name == "fair" else 0.7))
    assert made.chosen == "fair"
    barely_true = statuses(lock, made, 25, lambda name: 0.6)
    assert barely_true.count("contradicted") <= 25 * 0.1
    barely_false = statuses(lock, made, 25, lambda name: 0.599)
    assert barely_false.count("holds") <= 25 * 0.1
    better_rival = statuses(lock, made, 25, lambda name: 0.8 if name == "fair" else 0.801)
    assert better_rival.count("holds") <= 25 * 0.1
