"""The other verbs: what is there, what was decided and why, and a new option that starts well."""

from __future__ import annotations

import json
import random
import re
import sqlite3
from pathlib import Path

import pytest
from ran import Run

from weigh import catalog
from weigh.checks import Nonconformity, check_option
from weigh.choice import Table
from weigh.cli import VERBS, main
from weigh.cli._answer import Answer
from weigh.ledger import Ledger

DECIDE = ("decide", "guess:Guess", "--toy", "--quiet")


def only_id() -> str:
    with Ledger(".weigh/ledger.db") as book:
        (row,) = book.decisions()
    return row["lock"].removeprefix("sha256:")[:8]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_line_and_help(weigh: Run, verb: str):
    assert re.search(rf"^  {verb} +[A-Z]", weigh("--help").out, re.MULTILINE)
    ran = weigh(verb, "--help")
    assert ran.code == 0 and f"Usage: weigh {verb}" in ran.out


def test_choices_lists_every_choice(weigh: Run):
    listed = json.loads(weigh("choices", "--json").out)
    assert [row["choice"] for row in listed] == sorted(catalog.choices())
    out = weigh("choices").out
    for name in catalog.choices():
        assert name in out


def test_options_hides_nothing_and_says_what_to_type(weigh: Run):
    out = weigh("options", "guess:Guess").out
    assert "zero (baseline)" in out and "what the numbers are divided by" in out
    assert 'cannot run here: no-such-package>=2 is not installed: pip install "no-such-package>=2"' in out
    assert "2 of 3 can run here" in out
    facts = {row["option"]: row for row in json.loads(weigh("options", "guess:Guess", "--json").out)}
    assert facts["divides"]["settings"] == [
        {"name": "divisor", "type": "whole number", "meaning": "what the numbers are divided by", "default": 3}
    ]
    assert facts["needy"]["missing"] and not facts["zero"]["missing"]


def test_doctor_lists_every_option_of_every_choice(weigh: Run):
    found = json.loads(weigh("doctor", "--json").out)["options"]
    assert {name: list(options) for name, options in found.items()} == {
        name: list(catalog.options(made)) for name, made in catalog.choices().items()
    }
    ran = weigh("doctor")
    assert ran.code == 0 and "can run here" in ran.out


def test_doctor_says_that_a_ledger_is_none(weigh: Run):
    Path("text.db").write_text("no ledger at all, " * 100)
    ran = weigh("doctor", "--ledger", "text.db")
    assert ran.code == 2 and "not a ledger" in " ".join(ran.out.split())


def test_show_lists_and_shows(weigh: Run):
    ran = weigh(*DECIDE)
    listed = weigh("show").out
    assert only_id() in listed and "guess:Guess" in listed
    shown = weigh("show", only_id()[:4]).out
    assert shown.partition("The same run")[0] == ran.out.partition("The same run")[0]
    assert weigh("show", "last").out == shown
    assert Answer.model_validate_json(weigh("show", "last", "--json").out).chosen == "divides"


def test_what_is_not_there_is_said(weigh: Run):
    assert "no ledger at" in weigh("show").err
    assert not Path(".weigh").exists()
    weigh(*DECIDE)
    ran = weigh("explain", "ffffffff")
    assert ran.code == 2 and f"(known: {only_id()})" in ran.err
    assert "did you mean 'zero'" in weigh("explain", "last", "zeero").err


def test_explain_answers_every_question(weigh: Run):
    weigh(*DECIDE)
    out = weigh("explain", "last").out
    headings = (
        "Why it is so", "What each constraint cost", "Why not the others", "Which evidence decided",
        "What more blocks would do", "What would change the answer", "What re-opens it",
        "What every interval rests on",
    )  # fmt: skip
    for heading in headings:
        assert f"\n{heading}\n" in out
    flat = " ".join(out.split())
    assert re.search(r"zero: dominated (when the race ended, )?after \d+ blocks?", flat)
    assert "watch the share of multiples of three" in flat
    assert "betting confidence sequence" in flat
    assert re.search(r"The verdict rests on \d+ claims?, the closest call first: - divides ", flat)
    assert re.search(r"(certain|same) if( - .*)? - the risk were 0\.5%, not 5%", flat)
    assert "needy: failed in block 1: unfit" in flat
    assert re.search(r"Which evidence decided \d+ trials on \d+ blocks? .* and \d+ trials on fresh blocks: ", flat)
    assert re.search(r"What re-opens it The answer stands while - .* \(that it does not, one would notice by: ", flat)


def test_explain_prices_a_constraint(weigh: Run):
    weigh(*DECIDE, "--option", "divides", "--require", "size <= 5")
    flat = " ".join(weigh("explain", "last").out.split())
    found = re.search(
        r"'size <= 5' ruled out 1 option \(divides\)\. Its price: divides is better .* by ([\d.]+) \[([\d.]+), ", flat
    )
    assert found, flat
    numbers = random.Random(0).choices(range(1000), k=500)
    share = sum(number % 3 == 0 for number in numbers) / len(numbers)
    assert float(found[2]) < share and abs(float(found[1]) - share) < 0.25


def test_explain_one_option(weigh: Run):
    weigh(*DECIDE)
    flat = " ".join(weigh("explain", "last", "divides:divisor=2").out.split())
    assert "Settings divisor: 2" in flat and "size: 13 bytes" in flat


def test_report_writes_one_page(weigh: Run):
    weigh(*DECIDE)
    ran = weigh("report", "last", "-o", "out/page.html")
    assert ran.code == 0 and ran.out.startswith("out/page.html")
    page = Path("out/page.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html") and "divides" in page


def test_verify_exit_statuses(weigh: Run):
    weigh(*DECIDE)
    (record,) = Path(".weigh/toy/decisions").glob("*.md")
    assert weigh("verify", record).code == 0
    assert weigh("verify", record, "--json").out.startswith("{")
    with Ledger("empty.db"):
        assert weigh("verify", record, "--ledger", "empty.db").code == 4
    record.write_text(record.read_text().replace("divides", "divined", 1))
    assert weigh("verify", record).code == 3
    assert weigh("verify", "away.md").code == 2


def test_export_gives_every_row(weigh: Run):
    weigh(*DECIDE)
    rows = [json.loads(line) for line in weigh("ledger", "export").out.splitlines()]
    assert {row["table"] for row in rows} == {"weigh_lock", "weigh_evidence", "weigh_decision", "weigh_record"}
    weigh("ledger", "export", "-o", "all.jsonl")
    assert [json.loads(line) for line in Path("all.jsonl").read_text().splitlines()] == rows


def test_lines_fit_the_terminal(weigh: Run, monkeypatch: pytest.MonkeyPatch):
    for width in (80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        for words in (DECIDE, ("explain", "last"), ("options", "guess:Guess"), ("doctor",), ("show",)):
            lines = weigh(*words).out.splitlines()
            assert max(map(len, lines[1:])) <= width, words


def test_new_writes_an_option_that_says_what_to_fill_in(weigh: Run):
    ran = weigh("new", "guess:Guess", "my_guess")
    assert ran.code == 0 and len(ran.out.splitlines()) == 4
    assert "my_guess" in weigh("options", "guess:Guess", "--option", "./my_guess.py").out
    with pytest.raises(Nonconformity, match="fill in guess"):
        check_option("guess:Guess", "./my_guess.py")
    out = weigh(*DECIDE, "--option", "./my_guess.py").out
    assert "fill in guess" in out and out.startswith("Keep zero")


def test_new_needs_only_its_body(weigh: Run):
    weigh("new", "guess:Guess", "fives")
    text = Path("fives.py").read_text()
    body = next(line for line in text.splitlines() if "NotImplementedError" in line)
    Path("fives.py").write_text(text.replace(body.strip(), "return [number % 15 == 0 for number in numbers]"))
    assert "12 checks held" in str(check_option("guess:Guess", "./fives.py"))


@pytest.mark.parametrize("choice", sorted(catalog.choices()))
def test_new_compiles_for_every_choice(weigh: Run, choice: str):
    assert weigh("new", choice, "written_here", "--folder", "deep/down").code == 0
    facts = json.loads(weigh("options", choice, "--option", "deep/down/written_here.py", "--json").out)
    assert facts[0]["option"] == "written_here"
    assert "strength" in [setting["name"] for setting in facts[0]["settings"]]


def test_new_refuses_what_cannot_be(weigh: Run):
    assert "type 'foo_bar'" in weigh("new", "guess:Guess", "Foo-Bar").err
    assert "type 'my_class'" in weigh("new", "guess:Guess", "class").err
    assert "already" in weigh("new", "guess:Guess", "zero").err
    weigh("new", "guess:Guess", "mine")
    assert "--force" in weigh("new", "guess:Guess", "mine").err
    assert weigh("new", "guess:Guess", "mine", "--force").code == 0


def test_the_module_is_the_command(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0
    assert re.match(r"weigh \d", capsys.readouterr().out)


def test_what_goes_with_every_answer_is_printed_and_fits(weigh: Run, monkeypatch: pytest.MonkeyPatch):
    weigh(*DECIDE, "--option", "divides", "--option", "divides:divisor=2")
    wide = Table(
        title="Every rival", columns=("rival", *(f"cost {i}" for i in range(4)), "low", "high"), always=True,
        rows=(("(no change: the label that arrived last)", 1.5, 12345.678, 0.25, 145.3, 122.1, 159.2),),
    )  # fmt: skip
    hidden = Table(title="Hidden", columns=("a",), rows=((1,),))
    monkeypatch.setattr(Ledger, "exhibits", lambda self, lock: [wide, hidden])
    monkeypatch.setenv("COLUMNS", "80")
    out = weigh("show", "last").out
    assert "Every rival" in out and "145 [122, 159]" in out and "12,346" in out and "Hidden" not in out
    assert max(map(len, out.splitlines()[1:])) <= 80


def test_a_ledger_that_is_not_the_usual_one_is_in_every_command_that_is_printed(weigh: Run):
    out = weigh(*DECIDE, "--ledger", "my.db", "--records", "kept").out
    for verb in ("explain", "report"):
        found = re.search(rf"weigh {verb} (\w+) --ledger my.db", out)
        assert found and weigh(verb, found[1], "--ledger", "my.db").code == 0
    again = weigh("show", "last", "--ledger", "my.db").out.partition("The same run again")[2]
    assert "in the folder that holds .weigh" in again and "--ledger my.db" in again and "--records kept" in again


def test_doctor_does_not_call_a_ledger_fine_that_is_not_there(weigh: Run):
    assert "not there yet" in weigh("doctor").out


def test_verify_measures_again(weigh: Run):
    weigh(*DECIDE)
    (record,) = Path(".weigh/toy/decisions").glob("*.md")
    assert "type --remeasure with it" in weigh("verify", record, "--seed", "5").err
    ran = weigh("verify", record, "--remeasure", "--quiet", "--seed", "5")
    assert ran.code == 0 and ran.first.startswith("holds: divides meets every constraint again")
    assert "What the verdict rests on" in ran.out and "divides meets 'accuracy >= baseline - 0.05'" in ran.out
    assert "(seed 5): holds: divides meets" in " ".join(weigh("explain", "last").out.split())
    told = json.loads(weigh("verify", record, "--remeasure", "--quiet", "--seed", "5", "--json").out)
    assert told["code"] == 0 and told["holding"]["status"] == "holds" and told["seed"] == 5
    assert len(json.loads(weigh("show", "--json").out)) == 1
    record.write_text(record.read_text().replace("divides", "divined", 1))
    assert weigh("verify", record, "--remeasure").code == 3


def test_one_record_that_cannot_be_checked_leaves_the_others(weigh: Run):
    weigh(*DECIDE)
    (record,) = Path(".weigh/toy/decisions").glob("*.md")
    ran = weigh("verify", "nobody.md", record)
    assert (
        ran.code == 2
        and f"{record}: verified: " in ran.out
        and "the record nobody.md cannot be read" in ran.err + ran.out
    )
    ran = weigh("verify", "nobody.md", record, "--remeasure", "--quiet", "--seed", "5")
    assert ran.code == 2 and f"{record}: holds: " in " ".join(ran.out.split())
    assert "the record nobody.md cannot be read" in ran.err
    told = json.loads(weigh("verify", "nobody.md", record, "--remeasure", "--quiet", "--seed", "5", "--json").out)
    assert [one["code"] for one in told] == [2, 0]


def test_a_ledger_goes_to_another_machine(weigh: Run):
    weigh(*DECIDE)
    (record,) = Path(".weigh/toy/decisions").glob("*.md")
    weigh("ledger", "export", "-o", "all.jsonl")
    assert "rows of all.jsonl are in other.db" in weigh("ledger", "import", "all.jsonl", "--ledger", "other.db").out
    assert weigh("verify", record, "--ledger", "other.db").code == 0
    Path("all.jsonl").write_text("no row\n")
    assert "line 1 of all.jsonl is no row" in weigh("ledger", "import", "all.jsonl", "--ledger", "other.db").err
    for damaged in (b"PAR1\xff\xfe", b"[" * 100_000):
        Path("all.jsonl").write_bytes(damaged)
        ran = weigh("ledger", "import", "all.jsonl", "--ledger", "other.db")
        assert ran.code == 2 and "line 1 of all.jsonl is no row" in ran.err


def test_a_ledger_that_was_measured_otherwise_says_what_it_leaves_out(weigh: Run):
    weigh(*DECIDE)
    weigh("ledger", "export", "-o", "all.jsonl")
    weigh(*DECIDE, "--ledger", "other.db")
    ran = weigh("ledger", "import", "all.jsonl", "--ledger", "other.db")
    assert ran.code == 2 and "0 rows of all.jsonl are in other.db" in ran.out
    assert "was left out: other.db has another measurement of the same question" in ran.err


def test_what_lost_its_evidence_is_not_explained(weigh: Run):
    weigh(*DECIDE)
    with sqlite3.connect(".weigh/ledger.db") as connection:
        connection.execute("DELETE FROM weigh_evidence WHERE block = 0")
    connection.close()
    for verb in ("explain", "report"):
        ran = weigh(verb, "last")
        assert ran.code == 2 and "rows of evidence that the decision" in ran.err
