"""`weigh decide`: the answer first, the same run in every form, exit statuses, errors in one line."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ran import Run

from weigh.cli._answer import Answer
from weigh.decision import Decision
from weigh.ledger import Ledger

DECIDE = ("decide", "guess:Guess", "--toy")
QUICK = (*DECIDE, "--option", "divides", "--quiet")


def evidence_rows(ledger: str = ".weigh/ledger.db") -> int:
    with Ledger(ledger) as book:
        return sum(row["table"] == "weigh_evidence" for row in book.export())


def shell_words(line: str) -> list[str]:
    return shlex.split(line.replace("\\\n", ""))


def test_the_first_line_is_the_answer(weigh: Run):
    ran = weigh(*DECIDE)
    assert ran.code == 0
    with Ledger(".weigh/ledger.db") as book:
        (row,) = book.decisions()
    assert ran.first == row["answer"]
    assert "divides" in ran.first and "5%" in ran.first


def test_the_tables_carry_units_intervals_and_reasons(weigh: Run):
    out = weigh(*DECIDE).out
    for text in ("(bytes)", "latency (ms)", "0.05: met, the difference is", "confirmed", "no-such-package", "--toy"):
        assert text in out
    row = next(line for line in out.splitlines() if line.startswith("zero"))
    estimate, low, high = (float(word.strip("[],")) for word in row.split()[2:5])
    assert low < 0.666 < high and low < estimate < high


def test_progress_says_what_was_dropped_and_why_on_standard_error(weigh: Run):
    ran = weigh(*DECIDE)
    assert "racing 4 options on at most 60 blocks" in ran.err
    assert "dropped needy in block 1: unfit: no-such-package>=2 is not installed" in ran.err
    assert "divides is better in accuracy" in ran.err
    assert "dropped" not in ran.out


def test_the_same_again_measures_nothing(weigh: Run):
    first = weigh(*DECIDE)
    rows = evidence_rows()
    again = weigh(*DECIDE)
    assert again.out == first.out
    assert "decided before" in again.err
    assert evidence_rows() == rows > 0


def test_quiet_is_quiet(weigh: Run):
    assert weigh(*QUICK).err == ""
    assert weigh(*QUICK).err == ""


def test_json_is_the_decision(weigh: Run):
    ran = weigh(*QUICK, "--json")
    made = Answer.model_validate_json(ran.out)
    with Ledger(".weigh/ledger.db") as book:
        kept = book.decision(made.lock)
    assert kept is not None and made.model_dump(include=set(Decision.model_fields)) == kept.model_dump()
    assert made.lock.startswith(f"sha256:{made.id}") and Path(made.record).is_file()
    assert made.ledger == ".weigh/ledger.db" and "\n" not in made.again
    assert weigh(*shlex.split(made.again)[1:], "--quiet", "--json").out == ran.out


QUESTION = (
    *("decide", "guess:Guess", "--toy", "race=50", "tags=some words,more", "--option", "divides", "--option"),
    *(
        "divides:divisor=2",
        "--require",
        "latency <= 1000 * baseline",
        "--require",
        "accuracy >= 0.2",
        "--alpha",
        "0.01",
    ),
    *(
        "--epsilon",
        "0.02",
        "--seed",
        "3",
        "--budget",
        "40",
        "--limit",
        "seconds=9,memory_mb=2000",
        "--objective",
        "size",
    ),
)


def test_each_form_asks_the_same_question(weigh: Run, tmp_path: Path):
    lock = json.loads(weigh(*QUESTION, "--json", "--no-record").out)["lock"]
    Path("run.yaml").write_text(weigh(*QUESTION, "--print", "yaml").out)
    assert json.loads(weigh("decide", "run.yaml", "--json", "--ledger", "yaml.db", "--no-record").out)["lock"] == lock
    words = shell_words(weigh("decide", "run.yaml", "--print", "shell", "--no-record", "--ledger", "shell.db").out)
    assert words[0] == "weigh"
    assert json.loads(weigh(*words[1:], "--json").out)["lock"] == lock
    script = weigh("decide", "run.yaml", "--print", "python", "--no-record", "--ledger", "python.db").out
    known: dict[str, object] = {}
    exec(compile(script, "run.py", "exec"), known)
    assert isinstance(known["decision"], Decision) and known["decision"].lock == lock
    assert evidence_rows("shell.db") == evidence_rows("python.db") == evidence_rows("yaml.db") == evidence_rows() > 0


def test_the_command_to_repeat_repeats(weigh: Run):
    words = (*DECIDE, "race=30", "--option", "divides", "--alpha", "0.01", "--quiet")
    ran = weigh(*words, "--records", "kept")
    again = shell_words(ran.out.partition("The same run again:")[2])
    assert again[:3] == ["weigh", "decide", "guess:Guess"]
    rows = evidence_rows()
    assert weigh(*again[1:], "--quiet").out == ran.out
    assert evidence_rows() == rows


def test_printing_a_form_runs_nothing(weigh: Run):
    assert weigh(*QUICK, "--print", "yaml").code == 0
    assert not Path(".weigh/ledger.db").exists()


def test_the_command_line_goes_before_the_file(weigh: Run):
    Path("run.yaml").write_text(weigh(*QUICK, "--alpha", "0.2", "race=40", "--print", "yaml").out)
    shown = weigh("decide", "run.yaml", "race=30", "--alpha", "0.01", "--print", "yaml").out
    assert "race: 30" in shown and "alpha: 0.01" in shown


def test_a_file_of_task_fields(weigh: Run):
    Path("task.yaml").write_text("race: 12\ntags: [x, y]\n")
    shown = weigh(*QUICK, "--task", "task.yaml", "race=13", "--print", "yaml").out
    assert "race: 13" in shown and "- x" in shown


@pytest.mark.parametrize("word", ['tags=["a","b"]', "tags=a,b", "tags= a , b"])
def test_lists_are_typed_as_json_or_with_commas(weigh: Run, word: str):
    assert "tags:\n  - a\n  - b\n" in weigh(*QUICK, word, "--print", "yaml").out


def test_no_constraint_at_all(weigh: Run):
    assert "require: []" in weigh(*QUICK, "--require", "none", "--print", "yaml").out


@pytest.mark.parametrize(
    ("words", "code", "answer"),
    [
        (("--require", "accuracy >= 0.99", "--budget", "1"), 5, "Not enough evidence"),
        (("--require", "size <= 1"), 6, "No option"),
        (("--require", "size <= 20"), 0, "Choose divides"),
    ],
)
def test_exit_statuses(weigh: Run, words: tuple[str, ...], code: int, answer: str):
    ran = weigh(*QUICK, *words)
    assert (ran.code, ran.first[: len(answer)]) == (code, answer)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("decide", "guess:Guess"), ("lacks rows=", "whole numbers", "--toy")),
        (("decide", "guess/fives", "--toy"), ("no choice 'guess/fives'", "weigh choices")),
        (("decide", "guess:Guess", "rowz=1"), ("no task field 'rowz'", "did you mean 'rows'")),
        (("decide", "guess:Guess", "rows=away.json"), ("no file away.json",)),
        (("decide", "guess:Guess", "rows"), ("'rows'", "FIELD=VALUE")),
        ((*DECIDE, "batch=x"), ("batch must be a whole number, not 'x'",)),
        ((*DECIDE, "race=1", "race=2"), ("race is given twice",)),
        ((*DECIDE, "--option", "divids"), ("no option 'divids'", "did you mean 'divides'")),
        ((*DECIDE, "--option", "divides:divisr=3"), ("no setting 'divisr'", "did you mean 'divisor'")),
        ((*DECIDE, "--option", "divides:divisor=0"), ("divisor must be at least 1, not",)),
        ((*DECIDE, "--option", "./away.py"), ("no file away.py", "weigh new")),
        ((*DECIDE, "--alpha", "0.7"), ("alpha", "0.5")),
        ((*DECIDE, "--alhpa", "0.1"), ("--alhpa", "--alpha")),
        ((*DECIDE, "--objective", "acuracy"), ("no measure 'acuracy'", "did you mean 'accuracy'")),
        ((*DECIDE, "--require", "accuracy >= 1.2"), ("impossible", "out of reach by 0.2")),
        ((*DECIDE, "--require", "accurate"), ("cannot be read", "baseline - 0.01")),
        ((*DECIDE, "--limit", "second=3"), ("no limit 'second'", "did you mean 'seconds'")),
        ((*DECIDE, "--budget", "soon"), ("budget 'soon'", "90s")),
        ((*DECIDE, "--ledger", "/proc/no/l.db"), ("/proc/no/l.db", "--ledger")),
        (("decide", "away.yaml"), ("no file away.yaml", "--print yaml")),
        (("decide", "choice.yaml"), ("no key 'choise'", "did you mean 'choice'")),
        (("decide", "broken.yaml"), ("broken.yaml is no YAML", "line 1")),
        (("decide", "list.yaml"), ("list.yaml", "'name: value'")),
        (("decide",), ("CHOICE", "--help")),
        (("decid",), ("no verb 'decid'", "did you mean 'decide'")),
    ],
)
def test_mistakes_are_one_line_that_says_what_to_type(weigh: Run, words: tuple[str, ...], says: tuple[str, ...]):
    Path("choice.yaml").write_text("choise: guess:Guess\n")
    Path("broken.yaml").write_text("choice: [guess\n")
    Path("list.yaml").write_text("- choice\n")
    ran = weigh(*words)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("weigh: ") and ran.err.count("\n") == 1
    for text in says:
        assert text in ran.err


def test_an_option_that_cannot_be_imported_names_its_line(weigh: Run):
    Path("mine.py").write_text("from guess import Guesser\n\n\nclass Mine(Gueser):\n    pass\n")
    ran = weigh("options", "guess:Guess", "--option", "./mine.py")
    assert ran.code == 2
    assert "mine.py cannot be imported: NameError" in ran.err and "(line 4)" in ran.err


def test_an_unexpected_error_names_its_place(weigh: Run, monkeypatch: pytest.MonkeyPatch):
    def broken() -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr("weigh.catalog.choices", broken)
    ran = weigh("choices")
    assert ran.code == 1
    assert "RuntimeError: out of luck" in ran.err and "test_cli_decide.py:" in ran.err and "WEIGH_DEBUG=1" in ran.err
    monkeypatch.setenv("WEIGH_DEBUG", "1")
    with pytest.raises(RuntimeError):
        weigh("choices")


SLOW = '''
from __future__ import annotations

import time
from collections.abc import Sequence

from guess import Guesser


class Slow(Guesser):
    """Takes its time, and is right most of the time."""

    wrong: int = 11

    def guess(self, numbers: Sequence[int]) -> list[bool]:
        time.sleep(0.05)
        return [(number % 3 == 0) != (number % self.wrong == 0) for number in numbers]
'''


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path):
    (tmp_path / "slow.py").write_text(SLOW)
    words = [
        "decide",
        "guess:Guess",
        "--toy",
        "--option",
        "./slow.py",
        "--option",
        "./slow.py:wrong=13",
        "--budget",
        "30",
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "weigh", *words], cwd=tmp_path, env=environment, start_new_session=True, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    stopped = start()
    assert stopped.stderr is not None and "racing 3 options" in stopped.stderr.readline()
    ledger = str(tmp_path / ".weigh/ledger.db")
    while not evidence_rows(ledger):
        time.sleep(0.05)
    os.killpg(stopped.pid, signal.SIGINT)
    _, error = stopped.communicate(timeout=60)
    assert stopped.returncode == 130
    assert "the same command again goes on from here" in error and "Traceback" not in error
    kept = evidence_rows(ledger)
    again = start()
    out, error = again.communicate(timeout=120)
    assert again.returncode == 5, error
    assert error.startswith("going on where an earlier run stopped")
    assert evidence_rows(ledger) > kept > 0
    assert out.startswith("Not enough evidence")


def test_every_example_of_the_help_works(weigh: Run):
    text = weigh("decide", "--help").out.partition("Examples:")[2].partition("Exit status")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    assert len(lines) >= 3 and all(line.startswith("weigh decide ") for line in lines)
    for line in lines:
        words, _, target = line.partition(" > ")
        ran = weigh(*shlex.split(words)[1:], *([] if "--print" in words else ["--print", "shell"]))
        assert ran.code == 0, ran.err
        if target:
            Path(target).write_text(ran.out)
