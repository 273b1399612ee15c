"""Lock, race, judge, confirm, record: the whole flow on coins whose truth is known."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from coins import Biased, CoinTask, Fair, OtherFair, Troubled

from weigh import Ledger, UsageError, catalog, decide, judge
from weigh.choice import Block, Halted, Needs
from weigh.decision import Decision, OptionLock
from weigh.engine import Limits, Trial
from weigh.engine.inline import InlineEngine
from weigh.evidence import Evidence
from weigh.flow import Event
from weigh.ledger import LedgerError
from weigh.record import render
from weigh.verify import verify

COINS = "coins:Coins"
HERE = Path(__file__).parent


def toss(folder: Path, **asked: object) -> Decision:
    asked = {"options": [Fair(), Biased(p=0.7), Biased(p=0.2)], "task": CoinTask(), **asked}
    engine = asked.pop("engine", None) or InlineEngine()
    return decide(COINS, ledger=folder / "ledger.db", records=folder / "decisions", engine=engine, **asked)  # type: ignore[arg-type]


def test_the_best_is_chosen_and_confirmed(tmp_path: Path) -> None:
    decision = toss(tmp_path)
    assert (decision.verdict, decision.chosen) == ("chosen", "biased:p=0.7")
    assert decision.confirmation.status == "confirmed"
    assert {s.option: s.outcome for s in decision.standings} == {
        "fair": "dominated",
        "biased:p=0.7": "chosen",
        "biased:p=0.2": "dominated",
    }
    assert decision.measurements < decision.exhaustive / 3
    assert str(decision).startswith("Choose biased:p=0.7")


def test_a_decision_shows_itself_in_a_notebook(tmp_path: Path) -> None:
    page = toss(tmp_path)._repr_html_()
    assert page.count("<tr>") == 4 and "<b>Choose biased:p=0.7" in page


def test_a_constraint_on_an_exact_measure_costs_nothing(tmp_path: Path) -> None:
    decision = toss(tmp_path, options=[Fair(), Biased(p=0.7, weight=3.0)], require=["weight <= 2"])
    assert decision.chosen == "fair"
    assert decision.standing("biased:p=0.7,weight=3.0").outcome == "violates"
    assert decision.standing("biased:p=0.7,weight=3.0").blocks == 1


def test_relative_constraints_against_the_baseline(tmp_path: Path) -> None:
    decision = toss(
        tmp_path,
        options=[Biased(p=0.2, weight=0.1), Biased(p=0.5, stream=3, weight=0.5)],
        objective="weight",
        require=["heads >= baseline - 0.1"],
    )
    assert decision.chosen == "biased:stream=3,weight=0.5"
    assert decision.standing("biased:p=0.2,weight=0.1").outcome == "violates"


def test_nothing_meets_an_impossible_constraint_and_the_answer_says_by_how_much(tmp_path: Path) -> None:
    decision = toss(tmp_path, require=["heads >= 0.95"])
    assert decision.verdict == "none" and decision.chosen is None
    assert "'heads >= 0.95' is missed by" in decision.answer and "biased:p=0.7 comes closest" in decision.answer


def test_a_constraint_outside_the_range_is_refused_before_measuring(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"impossible: heads lies between 0 and 1 .* out of reach by 0.2"):
        toss(tmp_path, require=["heads >= 1.2"])


def test_out_of_budget_says_how_many_blocks_would_settle_it(tmp_path: Path) -> None:
    decision = toss(tmp_path, options=[Fair(), Biased(p=0.56)], budget="4", epsilon=0.0)
    assert decision.verdict == "undecided" and decision.blocks == 4 and decision.tied == ()
    assert decision.more_blocks is not None and decision.more_blocks > 4
    assert f"About {decision.more_blocks} more blocks would settle it" in decision.answer
    undecided = toss(tmp_path, options=[Fair()], require=["heads >= 0.49"], budget="4")
    assert undecided.verdict == "undecided" and undecided.chosen is None


def test_the_same_seed_gives_the_same_decision_on_another_ledger(tmp_path: Path) -> None:
    first, second = (toss(tmp_path / name).model_copy(update={"evidence": ""}) for name in ("a", "b"))
    assert first == second


def test_a_decision_is_a_pure_function_of_its_evidence(tmp_path: Path) -> None:
    decision = toss(tmp_path)
    with Ledger(tmp_path / "ledger.db") as ledger:
        lock, rows = ledger.lock(decision.lock), ledger.evidence(decision.lock)
    assert judge(lock, reversed(rows)) == decision


def test_asking_again_measures_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("COIN_LOG", str(log))
    first = toss(tmp_path)
    measured = log.read_text()
    assert toss(tmp_path) == first
    assert log.read_text() == measured


def test_a_records_folder_that_cannot_be_written_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("COIN_LOG", str(log))
    (tmp_path / "decisions").write_text("a file where the folder should be")
    with pytest.raises(LedgerError, match=r"cannot be written .*name another folder with --records"):
        toss(tmp_path)
    measured = Counter(log.read_text().splitlines())
    (tmp_path / "decisions").unlink()
    assert toss(tmp_path).chosen == "biased:p=0.7"
    assert Counter(log.read_text().splitlines()) == measured


def test_a_file_of_the_task_that_is_not_there() -> None:
    with pytest.raises(UsageError, match=r"there is no file nowhere\.onnx \(model\)"):
        decide("compress/quantize", {"model": "nowhere.onnx", "data": __file__})


def test_two_options_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two options are both called 'fair'"):
        toss(tmp_path, options=[Fair(), OtherFair()])


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"choice": "monitor/drfit"}, "did you mean 'monitor/drift'"),
        ({"options": ["kss"]}, "did you mean 'ks'"),
        ({"options": ["ks:treshold=1"]}, "did you mean 'threshold'"),
        ({"options": ["./nowhere.py"]}, "there is no file nowhere.py"),
        ({"task": {"histroy": "x"}}, "did you mean 'history'"),
        ({"require": ["powr >= 0.5"]}, "did you mean 'power'"),
        ({"require": ["power is good"]}, "type 'accuracy >= 0.9'"),
        ({"objective": "powr"}, "did you mean 'power'"),
        ({"budget": "soon"}, "type '200' \\(blocks\\), '10%'"),
    ],
)
def test_a_name_that_does_not_exist_is_answered_with_the_nearest(
    tmp_path: Path, asked: dict[str, object], told: str
) -> None:
    task = catalog.choice("monitor/drift").toy(tmp_path)
    asked = {"choice": "monitor/drift", "task": task, "engine": InlineEngine(), "ledger": tmp_path / "l.db", **asked}
    with pytest.raises(UsageError, match=told):
        decide(**asked)  # type: ignore[arg-type]


def _command(folder: Path) -> list[str]:
    code = (
        "from weigh import decide; import coins, sys\n"
        f"decide('{COINS}', coins.CoinTask(blocks=40), options=[coins.Fair(), coins.Biased(p=0.52)], epsilon=0.0,"
        f"ledger=r'{folder}/ledger.db', records=r'{folder}/decisions', seed=int(sys.argv[1]))"
    )
    return [sys.executable, "-c", code]


def _environment(folder: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(HERE), "COIN_LOG": str(folder / "log"), **more}


@pytest.mark.parametrize("after", [12, 31, 55])
def test_killed_and_resumed_measures_nothing_twice(tmp_path: Path, after: int) -> None:
    """`kill -9` of the driver: what the ledger holds is never measured again."""
    log = tmp_path / "log"
    run = subprocess.Popen(
        [*_command(tmp_path), "0"], env=_environment(tmp_path, COIN_DELAY="0.02"), start_new_session=True
    )
    while run.poll() is None and (not log.exists() or len(log.read_text().splitlines()) < after):
        time.sleep(0.005)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    with Ledger(tmp_path / "ledger.db") as ledger:
        digest = next(row["digest"] for row in ledger.export() if row["table"] == "weigh_lock")
        kept = {f"{row.option} {row.block}" for row in ledger.evidence(digest)}
    before = Counter(log.read_text().splitlines())
    subprocess.run([*_command(tmp_path), "0"], env=_environment(tmp_path), check=True)
    after_resume = Counter(log.read_text().splitlines())
    assert kept and max(before.values()) == 1
    assert all(after_resume[trial] == 1 for trial in kept)
    alone = tmp_path / "alone"
    alone.mkdir()
    subprocess.run([*_command(alone), "0"], env=_environment(alone), check=True)
    assert _verdict(tmp_path) == _verdict(alone)


def _verdict(folder: Path) -> tuple[str, ...]:
    with Ledger(folder / "ledger.db") as ledger:
        return tuple(row["answer"] for row in ledger.decisions())


def test_two_at_once_on_one_ledger_lose_nothing(tmp_path: Path) -> None:
    runs = [subprocess.Popen([*_command(tmp_path), seed], env=_environment(tmp_path)) for seed in ("1", "2", "2")]
    assert [run.wait() for run in runs] == [0, 0, 0]
    with Ledger(tmp_path / "ledger.db") as ledger:
        decisions = ledger.decisions()
        assert len(decisions) == 2
        for row in decisions:
            lock = ledger.lock(row["lock"])
            decision = ledger.decision(row["lock"])
            assert decision == judge(lock, ledger.evidence(row["lock"]))
    assert len(list((tmp_path / "decisions").glob("*.md"))) == 2


def judged_again(folder: Path, change: Callable[[Evidence], Evidence]) -> Decision:
    """The decision that other evidence would have given."""
    decision = toss(folder)
    with Ledger(folder / "ledger.db") as ledger:
        lock, rows = ledger.lock(decision.lock), ledger.evidence(decision.lock)
    return judge(lock, [change(row) if row.block >= lock.blocks.race else row for row in rows])


def test_a_winner_that_fails_on_fresh_blocks_is_contradicted(tmp_path: Path) -> None:
    def crash(row: Evidence) -> Evidence:
        if not row.option.endswith("0.7") or row.block % 3:
            return row
        return row.model_copy(update={"values": {}, "status": "failed", "reason": "bent"})

    decision = judged_again(tmp_path, crash)
    assert decision.confirmation.status == "contradicted"
    assert "on 7 of 20 fresh blocks the winner failed: bent" in decision.answer


def test_fresh_blocks_that_say_the_opposite_stand_in_the_answer(tmp_path: Path) -> None:
    def turned(row: Evidence) -> Evidence:
        heads = 0.0 if row.option.endswith("0.7") else 1.0
        return row.model_copy(update={"values": {**row.values, "heads": [heads] * len(row.values["heads"])}})

    decision = judged_again(tmp_path, turned)
    assert decision.confirmation.status == "contradicted"
    assert decision.answer.endswith("But on fresh blocks fair is better than biased:p=0.7 in heads.")
    assert decision.chosen == "biased:p=0.7" and "status: proposed" in _record(tmp_path, decision)


def _record(folder: Path, decision: Decision) -> str:
    with Ledger(folder / "ledger.db") as ledger:
        return render(ledger.lock(decision.lock), decision, [], date(2026, 1, 1))


def test_fresh_blocks_that_tell_little_are_not_called_a_confirmation(tmp_path: Path) -> None:
    def vague(row: Evidence) -> Evidence:
        return row.model_copy(update={"values": {**row.values, "heads": row.values["heads"][:1]}})

    assert judged_again(tmp_path, vague).confirmation.status == "inconclusive"


def test_values_that_their_measure_does_not_allow_are_a_failure_of_the_option(tmp_path: Path) -> None:
    decision = toss(tmp_path, options=[Fair(), Troubled(how="double"), Troubled(how="silent")])
    why = {s.option: s.why for s in decision.standings if s.outcome == "failed"}
    assert "measured heads outside [0, 1]" in why["troubled:how=double"]
    assert "did not measure heads" in why["troubled:how=silent"]


def test_exhibits_that_cannot_be_made_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: InlineEngine, options: object) -> None:
        raise RuntimeError("used 9,000 MB of memory")

    monkeypatch.setattr(InlineEngine, "exhibits", broken)
    decision = toss(tmp_path)
    with Ledger(tmp_path / "ledger.db") as ledger:
        shown = ledger.exhibits(decision.lock)
    assert decision.verdict == "chosen" and "9,000 MB" in str(shown[0])


def test_the_only_option_that_could_be_measured_wins_no_comparison(tmp_path: Path) -> None:
    decision = toss(tmp_path, options=[Fair(), Troubled(how="unfit")])
    told = "Keep fair, the baseline: nothing else could be measured (troubled:how=unfit: unfit"
    assert decision.answer.startswith(told)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"alpha": float("nan")}, "alpha=nan cannot be used: give a probability above 0 and below 0.5"),
        ({"alpha": "high"}, "alpha='high' cannot be used: give a probability"),
        ({"epsilon": float("inf")}, "epsilon=inf cannot be used: give a number of at least 0"),
        ({"seed": -1}, "seed=-1 cannot be used: give a whole number of at least 0"),
        ({"budget": 0}, "the budget '0' is no number of blocks; type '200'"),
        ({"budget": -1}, "type '200' (blocks)"),
        ({"budget": "1..2"}, "'200' (blocks), '10%'"),
        ({"objective": 5}, "objective=5 cannot be used: give the name of a measure"),
        ({"require": [5]}, "require=[5] cannot be used: give a list of texts"),
        ({"require": "heads is 1"}, "the constraint 'heads is 1' cannot be read"),
        ({"options": [5]}, "options=[5] cannot be used: give a list of names"),
        ({"options": "welch"}, "there is no option 'welch' of tests/coins"),
        ({"options": "coins:Fiar"}, "'coins:Fiar' cannot be loaded"),
        ({"options": [catalog.find(catalog.choice("cause/experiment"), "welch")]}, "Welch is no option of tests/coins"),
        ({"limits": {"seconds": 0}}, "limits={'seconds': 0} cannot be used: give Limits(seconds=60"),
        ({"limits": {"second": 1}}, "did you mean 'seconds'"),
        ({"limits": 5}, "limits=5 cannot be used"),
        ({"task": None}, "task=None cannot be used: give the fields of the task"),
        ({"task": 5}, "task=5 cannot be used"),
        ({"task": [1]}, "task=[1] cannot be used"),
        ({"task": {1: 2}}, "there is no task field '1' of tests/coins"),
        ({"ledger": None}, "ledger=None cannot be used: give a file such as '.weigh/ledger.db'"),
        ({"records": 5}, "records=5 cannot be used: give a folder, or None"),
        ({"choice": 5}, "choice=5 cannot be used: give the name of a choice"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_sentence(tmp_path: Path, asked: dict[str, object], told: str) -> None:
    given = {"choice": COINS, "task": {}, "options": [Fair()], "ledger": tmp_path / "l.db", "records": None, **asked}
    with pytest.raises((UsageError, LedgerError), match=re.escape(told)):
        decide(**given, engine=InlineEngine())  # type: ignore[arg-type]
    assert not list(Path.cwd().glob("None*"))


def test_a_text_is_a_list_of_one_and_none_is_not_given(tmp_path: Path) -> None:
    decision = toss(
        tmp_path,
        options="coins:Biased:p=0.9",
        require="heads >= 0.6",
        objective=None,
        budget=None,
        limits={"seconds": 9},
    )
    assert decision.chosen == "biased:p=0.9" and decision.constraints == ("heads >= 0.6",)


def test_a_record_can_be_had_later(tmp_path: Path) -> None:
    asked = {"options": [Fair(), Biased(p=0.9)], "ledger": tmp_path / "l.db", "engine": InlineEngine()}
    decision = decide(COINS, CoinTask(), records=None, **asked)  # type: ignore[arg-type]
    asked["engine"] = InlineEngine()
    assert decide(COINS, CoinTask(), records=tmp_path / "out", **asked) == decision  # type: ignore[arg-type]
    (record,) = (tmp_path / "out").glob("*.md")
    assert verify(record, tmp_path / "l.db").code == 0
    with Ledger(tmp_path / "l.db") as ledger:
        assert ledger.decisions()[0]["record"] == str(record)
    record.write_text("notes of a person")
    asked["engine"] = InlineEngine()
    decide(COINS, CoinTask(), records=tmp_path / "out", **asked)  # type: ignore[arg-type]
    assert record.read_text() == "notes of a person"


def test_a_block_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    """Two runs of one question, one of which was stopped in the middle of a block: no pair comes from both."""

    class Stopping(InlineEngine):
        def measure(self, option: OptionLock, block: Block) -> Trial:
            trial = super().measure(option, block)
            if block.index == 3:
                if self.stopped:
                    raise KeyboardInterrupt
                self.stopped = True
            return trial

        stopped = False

    with pytest.raises(KeyboardInterrupt):
        toss(tmp_path, options=[Fair(), Biased(p=0.52)], engine=Stopping())
    with Ledger(tmp_path / "ledger.db") as ledger:
        lock = next(row["digest"] for row in ledger.export() if row["table"] == "weigh_lock")
        assert [row.block for row in ledger.evidence(lock)] == [0, 0, 1, 1, 2, 2]


def test_more_room_for_a_trial_is_another_question(tmp_path: Path) -> None:
    """A timeout is evidence under the limits that were asked; with wider ones it is measured again."""
    asked = {"options": [Fair(), Troubled(how="hang")], "task": CoinTask(blocks=2, fresh=1)}
    where = {"ledger": tmp_path / "ledger.db", "records": None}
    first = decide(COINS, limits=Limits(seconds=1.0), **asked, **where)  # type: ignore[arg-type]
    second = decide(COINS, limits=Limits(seconds=1.5), **asked, **where)  # type: ignore[arg-type]
    assert first.lock != second.lock and "within 1.5 s" in second.standing("troubled:how=hang").why


def test_a_package_that_was_installed_since_is_another_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Troubled, "needs", Needs(packages=("coin-press>=2",)))
    asked = {"options": [Fair(), Troubled(how="fair")]}
    before = toss(tmp_path, **asked)
    assert "coin-press>=2 is not installed" in before.standing("troubled:how=fair").why
    monkeypatch.setattr(Troubled, "needs", Needs())
    after = toss(tmp_path, **asked)
    assert before.lock != after.lock and after.standing("troubled:how=fair").outcome != "failed"


def test_a_machine_without_room_halts_the_run_and_judges_no_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Fair, rng: object, tosses: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/cache/artefact")

    with monkeypatch.context() as patch:
        patch.setattr(Fair, "heads", full)
        with pytest.raises(Halted, match=r"/cache/artefact: No space left on device; make room"):
            toss(tmp_path)
    assert toss(tmp_path).verdict == "chosen"


def test_data_that_change_while_they_are_measured_decide_nothing(tmp_path: Path) -> None:
    data = tmp_path / "tosses.txt"
    data.write_text("before")
    engine = InlineEngine()

    def edit(event: Event) -> None:
        if event.kind == "block":
            data.write_text(f"after block {event.block}")

    with pytest.raises(Halted, match="was changed while it was measured"):
        toss(tmp_path, task=CoinTask(notes=data), engine=engine, watch=edit)
    with Ledger(tmp_path / "ledger.db") as ledger:
        assert ledger.decisions() == []
