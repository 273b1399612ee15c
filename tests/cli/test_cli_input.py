"""What was typed or written wrongly: one sentence that names it, never a Python error, never a silent guess."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from ran import Run

from weigh import show
from weigh.cli import _yaml

TOY = ("decide", "guess:Guess", "--toy", "--option", "divides", "--quiet")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("seed: abc", ("seed='abc'", "whole number")),
        ("alpha: high", ("alpha='high'", "0.05")),
        ("epsilon: -1", ("epsilon=-1", "at least 0")),
        ("require: 5", ("require=5", "list of texts")),
        ("require: [5]", ("require=[5]", "list of texts")),
        ("options: {a: b}", ("options={'a': 'b'}", "list of names")),
        ("objective: 3", ("objective=3", "measure")),
        ("task: hello", ("task='hello'", "'field: value' lines")),
        ("task: [1]", ("task=[1]", "'field: value' lines")),
        ("task: {1: y}", ("task={1: 'y'}", "'field: value' lines")),
        ("limits:", ("limits=None", "seconds=60")),
        ("limits: 5", ("limits=5", "seconds=60")),
        ("limits: [1]", ("limits=[1]", "seconds=60")),
        ("limits: {seconds: long}", ("limits", "'long'", "seconds=60")),
        ("budget: 0", ("budget '0'", "90s")),
        ("budget: false", ("budget=False", "90s")),
        ("budget: soon", ("budget 'soon'", "90s")),
        ("seed: 1\nseed: 2", ("'seed' stands twice", "line 2", "line 3")),
        ("task:\n  race: 3\n  race: 4", ("'race' stands twice",)),
        ("ledger: 5", ("ledger=5", "'.weigh/ledger.db'")),
        ("records: [a]", ("records=['a']", "a folder")),
        ("legder: x.db", ("no key 'legder'", "did you mean 'ledger'")),
    ],
)
def test_a_file_is_checked_before_anything_is_opened(weigh: Run, line: str, says: tuple[str, ...]) -> None:
    Path("run.yaml").write_text(f"choice: guess:Guess\n{line}\n")
    ran = weigh("decide", "run.yaml", "--toy")
    assert ran.code == 2 and ran.out == "" and ran.err.count("\n") == 1
    for text in says:
        assert text in ran.err
    assert not Path(".weigh").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--seed", "-1"), ("seed=-1", "at least 0")),
        (("--budget", "1..2"), ("budget '1..2'", "90s")),
        (("--budget", "0"), ("budget '0'", "200")),
        (("--budget", "0.5"), ("budget '0.5'", "200")),
        (("--require", "accuracy >= 1e999"), ("'accuracy >= 1e999'", "finite number")),
        (("--require", "none", "--require", "size <= 3"), ("'none' asks for no constraint", "2 are given")),
        (("--limit", "seconds=1,seconds=2"), ("limit seconds is given twice",)),
        (("--limit", "seconds=1", "--limit", "seconds=2"), ("limit seconds is given twice",)),
        (("--limit", "seconds=soon"), ("'soon'", "seconds=60")),
        (("--option", ":"), ("':'", "setting")),
        (("--option", "divides:"), ("divides:setting=value",)),
        (("tags=[a",), ("'[a' is no JSON", "a,b")),
        (("race=0",), ("race must be at least 1, not '0'",)),
        (("race=many",), ("race must be a whole number, not 'many'",)),
    ],
)
def test_words_are_checked_too(weigh: Run, words: tuple[str, ...], says: tuple[str, ...]) -> None:
    ran = weigh(*TOY, *words)
    assert ran.code == 2 and ran.out == "" and ran.err.count("\n") == 1, ran
    for text in says:
        assert text in ran.err


@pytest.mark.parametrize("name", ["json:loads", "weigh.choice:Choice", "guess:Nothing", "guess:"])
def test_what_is_no_choice(weigh: Run, name: str) -> None:
    ran = weigh("decide", name, "--toy")
    assert ran.code == 2 and name in ran.err and "module:Class" in ran.err


def test_names_are_near_where_lists_and_pairs_are_typed(weigh: Run, tmp_path: Path) -> None:
    (tmp_path / "past.csv").write_text("a\n1\n")
    drift = ("decide", "monitor/drift", "history=past.csv", "--print", "yaml")
    assert "no value 'scael' of kinds; did you mean 'scale'?" in weigh(*drift, "kinds=mean,scael").err
    assert "window must be at least 20, not '0'" in weigh(*drift, "window=0").err
    assert "sizes must be name:value pairs, typed sizes=a:1,b:2, not '0.3'" in weigh(*drift, "sizes=0.3").err
    assert yaml.safe_load(weigh(*drift, "stretch=none").out)["task"]["stretch"] is None
    assert yaml.safe_load(weigh(*drift, "sizes=mean:0.3,mix:0.5").out)["task"]["sizes"] == {"mean": 0.3, "mix": 0.5}


def test_a_file_keeps_the_ledger_and_the_records(weigh: Run) -> None:
    words = (*TOY, "--ledger", "mine.db", "--records", "kept")
    for extra, records in (((), "kept"), (("--no-record",), None)):
        Path("run.yaml").write_text(weigh(*words, *extra, "--print", "yaml").out)
        said = yaml.safe_load(Path("run.yaml").read_text())
        assert (said["ledger"], said["records"]) == ("mine.db", records)
        for form, text in (("shell", "--no-record" if extra else "--records kept"), ("python", "records=")):
            shown = weigh("decide", "run.yaml", "--print", form).out
            assert text in shown and "mine.db" in shown
    made = json.loads(weigh("decide", "run.yaml", "--quiet", "--json").out)
    assert (made["ledger"], made["record"]) == ("mine.db", "") and not Path("kept").exists()
    assert "--no-record" in made["again"] and "--ledger mine.db" in made["again"]
    assert not Path(".weigh/ledger.db").exists()
    shown = weigh("decide", "run.yaml", "--ledger", "other.db", "--records", "there", "--print", "yaml").out
    assert "ledger: other.db" in shown and "records: there" in shown


def test_a_toy_run_keeps_its_records_in_every_form(weigh: Run) -> None:
    Path("run.yaml").write_text(weigh(*TOY, "--print", "yaml").out)
    made = json.loads(weigh("decide", "run.yaml", "--quiet", "--json").out)
    assert Path(made["record"]).parent == Path(".weigh/toy/decisions")


def test_a_password_is_never_printed(weigh: Run) -> None:
    url = "postgresql+psycopg://me:hunter2@localhost:1/weigh"
    for form in ("yaml", "shell", "python"):
        shown = weigh(*TOY, "--ledger", url, "--print", form).out
        assert "hunter2" not in shown and "me:***@localhost" in shown


def test_explain_and_report_as_json(weigh: Run) -> None:
    weigh(*TOY)
    told = json.loads(weigh("explain", "last", "--json").out)
    titles = [section["title"] for section in told["sections"]]
    assert titles[:2] == ["What was asked", "Why it is so"] and all(section["items"] for section in told["sections"])
    page = json.loads(weigh("report", "last", "-o", "page.html", "--json").out)
    assert page["id"] == told["id"] and page["answer"] == told["answer"]
    assert Path(page["page"]).stat().st_size == page["bytes"]


def test_a_file_that_ends_its_process_ends_no_verb(weigh: Run) -> None:
    Path("mine.py").write_text("import os\nos._exit(7)\n")
    for words in (("options", "guess:Guess"), ("decide", "guess:Guess", "--toy")):
        ran = weigh(*words, "--option", "./mine.py")
        assert ran.code == 2 and "./mine.py cannot be imported" in ran.err and "exit status 7" in ran.err


def test_what_comes_from_outside_steers_no_terminal(weigh: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("decide", "gue\x1b[31mss"), ("decide", "guess:Guess", "--toy", "--option", "x\x9b2J\x07")):
        assert not set("\x1b\x9b\x07") & set(weigh(*words).err)
    show.put(show.console(), show.table(["why\x1b[0m"], [("a\x1b[2Jb\x9b1m",), ("two\nlines",)]))
    out = capsys.readouterr().out
    assert not set("\x1b\x9b") & set(out) and "a [2Jb" in out and "lines" in out


def test_where_nothing_can_be_written(weigh: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert "type --folder with one that you may write to" in weigh("new", "guess:Guess", "mine").err
    ran = weigh(*TOY)
    assert ran.code == 2 and "toy task cannot be written" in ran.err and "cd ~" in ran.err


@pytest.mark.parametrize(
    ("number", "says"),
    [(28, "make room on the disk and type the same again"), (30, "go to a folder that can be written"), (2, "check")],
)
def test_what_the_system_refuses_says_what_to_do(
    weigh: Run, monkeypatch: pytest.MonkeyPatch, number: int, says: str
) -> None:
    def refuse() -> None:
        raise OSError(number, "It cannot be", "here.db")

    monkeypatch.setattr("weigh.catalog.choices", refuse)
    ran = weigh("choices")
    assert ran.code == 2 and f"here.db: It cannot be; {says}" in ran.err


def test_yaml_is_read_as_it_is_written() -> None:
    assert _yaml.load("a: &one {b: 1}\nc:\n  <<: *one\n  d: 2\n") == {"a": {"b": 1}, "c": {"b": 1, "d": 2}}
    with pytest.raises(yaml.YAMLError, match="'b' stands twice, in line 1 and in line 2"):
        _yaml.load("b: 1\nb: 2\n")


def test_reading_a_ledger_writes_nothing(weigh: Run) -> None:
    weigh(*TOY)
    before = Path(".weigh/ledger.db").read_bytes()
    for words in (("show",), ("show", "last"), ("explain", "last"), ("ledger", "export")):
        assert weigh(*words).code == 0
    assert Path(".weigh/ledger.db").read_bytes() == before
