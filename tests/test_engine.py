"""A crash, a hang or a leak of an option is evidence, not an accident."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from coins import Biased, CoinTask, Fair, Troubled
from trouble import Nasty

from weigh import UsageError, decide
from weigh.decision import Decision
from weigh.engine import Limits
from weigh.engine.local import LocalEngine


def toss(folder: Path, how: str) -> Decision:
    engine = LocalEngine(Limits(seconds=3 if how == "hang" else 60, memory_mb=350))
    return decide(
        "coins:Coins", CoinTask(), options=[Fair(), Biased(p=0.75), Troubled(how=how)],
        ledger=folder / "l.db", records=None, engine=engine,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("raise", "failed: RuntimeError: the coin is bent (coins.py:"),
        ("exit", "failed: the worker ended with exit status 9"),
        ("kill", "failed: the worker was killed by signal 9"),
        ("hang", "timeout: no answer within 3 s"),
        ("leak", "failed: used "),
        ("unfit", "unfit: this coin is for another table"),
    ],
)
def test_trouble_is_recorded_and_the_race_goes_on(tmp_path: Path, how: str, reason: str) -> None:
    decision = toss(tmp_path, how)
    trouble = next(s for s in decision.standings if s.option.startswith("troubled"))
    assert trouble.outcome == "failed" and trouble.why.startswith(reason)
    assert decision.chosen == "biased:p=0.75"


@pytest.fixture(scope="module")
def reasons(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of every nasty coin in one race."""
    folder = tmp_path_factory.mktemp("nasty")
    hows = ("heavy", "asks", "mumbles", "babbles", "leaves", "dies_once")
    coins = [Nasty(how=how, mark=str(folder / how)) for how in hows]
    engine = LocalEngine(Limits(seconds=20, memory_mb=400))
    decision = decide(
        "coins:Coins", CoinTask(blocks=2, fresh=0), options=[Fair(), *coins],
        ledger=folder / "l.db", records=None, engine=engine,
    )  # fmt: skip
    return {s.option.split("how=")[-1].split(",")[0]: s.why for s in decision.standings}


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("heavy", r"failed: used \d+ MB of memory, over the limit of 400 MB"),
        ("asks", "failed: ValueError: nobody types"),
        ("mumbles", r"failed: RuntimeError: \[31mred \\udcff and more \(trouble.py:"),
        ("babbles", "failed: wrote into a file descriptor that is not its own"),
        ("leaves", "failed: KeyboardInterrupt"),
        ("dies_once", "failed: ValueError: came back"),
    ],
)
def test_nasty_options_are_named_and_shamed(reasons: dict[str, str], how: str, reason: str) -> None:
    assert re.match(reason, reasons[how]), reasons[how]


def alive(process: int) -> bool:
    return psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE


def gone(processes: list[int]) -> bool:
    for _ in range(200):
        if not any(map(alive, processes)):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("how", ["killed", "interrupted", "timeout"])
def test_nothing_outlives_the_run(tmp_path: Path, how: str) -> None:
    """A worker that never yields, and what it started, end with the run: when it is killed, and when it goes on."""
    code = (
        "from weigh import decide; from weigh.engine import Limits; import coins, trouble\n"
        f"decide('coins:Coins', coins.CoinTask(blocks=1, fresh=0), options=[trouble.Nasty(mark=r'{tmp_path}/mark')],"
        f"ledger=r'{tmp_path}/l.db', records=None, limits=Limits(seconds={1 if how == 'timeout' else 600}))"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        stderr=subprocess.PIPE,
    )
    while not (tmp_path / "mark.child").exists() and run.poll() is None:
        time.sleep(0.05)
    processes = [int(number) for number in (tmp_path / "mark").read_text().split()]
    if how != "timeout":
        run.send_signal(signal.SIGKILL if how == "killed" else signal.SIGINT)
    _, told = run.communicate()
    assert gone(processes)
    assert b"BrokenPipe" not in told and (how != "timeout" or run.returncode == 0)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("import os; os._exit(7)", "mine.py cannot be imported: the worker ended with exit status 7"),
        ("raise KeyboardInterrupt", "mine.py cannot be imported: KeyboardInterrupt"),
        ("1 / 0", "mine.py cannot be imported: ZeroDivisionError"),
        ("import time; time.sleep(99)", "mine.py cannot be imported: no answer within 1 s"),
    ],
)
def test_a_file_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, says: str) -> None:
    (tmp_path / "mine.py").write_text(line)
    monkeypatch.setattr(Limits, "open_seconds", 1.0 if "sleep" in line else 60.0)
    with pytest.raises(UsageError, match=re.escape(says)):
        decide("coins:Coins", {}, options=[f"{tmp_path}/mine.py"], ledger=tmp_path / "l.db", records=None)


def test_preparing_takes_no_longer_than_a_trial_may_unless_it_is_said() -> None:
    assert Limits(seconds=2).prepare_seconds == 2 and Limits().prepare_seconds == 1800
    assert Limits(seconds=2, prepare_seconds=9).prepare_seconds == 9
    assert Limits.model_validate_json(Limits(seconds=2).model_dump_json()) == Limits(seconds=2)
    assert Limits(seconds=2).open_seconds == 60
