"""What a page says, for every kind of verdict, and that it needs nothing but itself."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import story
from reading import Reader

from weigh.choice import Curves, Line, Table, UsageError
from weigh.commands import folded, folder
from weigh.decision import Constraint, Decision, judge
from weigh.ledger import Ledger, LedgerError
from weigh.record import command
from weigh.report import Step, decision_page, journey_page, write_page
from weigh.report.margins import margins


def test_the_answer_comes_first_and_every_option_constraint_and_the_command_are_there(told, page):
    ledger, decision = told
    text = Reader(page).text
    assert decision.verdict == "chosen"
    first_heading = re.search(r"<h1>(.*?)</h1>", page)
    assert first_heading and first_heading[1] == decision.answer
    for standing in decision.standings:
        assert text.count(standing.option) >= 4 and standing.why in text
    for constraint in decision.constraints:
        assert constraint in text
    for word in (*decision.assumptions, *decision.assumptions.values(), decision.evidence, decision.lock):
        assert word in text
    shown = re.search(r"<pre>(weigh decide.*?)</pre>", page, re.DOTALL)
    assert shown is not None
    assert shlex.split(Reader(shown[0]).text.replace("\\ ", "")) == shlex.split(
        command(ledger.lock(decision.lock), ledger.where, None)
    )


def test_figures_of_the_decision_are_those_of_the_ledger(told, page):
    decision = told[1]
    text = Reader(page).text
    assert f"{decision.measurements:,} of {decision.exhaustive:,} measurements" in text
    for standing in decision.standings:
        assert f"{standing.measured['size'].estimate:.4g}" in text
    fresh = decision.confirmation.measured[str(decision.chosen)]["accuracy"]
    assert f"on {decision.confirmation.blocks} fresh blocks" in text and f"{fresh.estimate:.3f} [" in text


LOADS = re.compile(
    r"""(?:src|srcset|href|data|poster|action)\s*=\s*["'](?!\#)|url\((?!\#)|@import|<(?:script|link|iframe)"""
)


def test_pages_load_nothing(page, journey):
    for html in (page, journey):
        assert not LOADS.search(html), LOADS.search(html)
        assert "default-src 'none'" in html
        assert "http" not in re.sub(r"http-equiv", "", html)


def test_pages_are_well_formed_and_no_id_is_given_twice(page, journey):
    for html in (page, journey):
        reader = Reader(html)
        assert len(reader.ids) == len(set(reader.ids))
        used = {value[1:] for _, attributes in reader.tags if (value := attributes.get("href")) and value[0] == "#"}
        used |= set(re.findall(r"url\(#([^)]+)\)", html))
        used |= {name for _, at in reader.tags for name in (at.get("aria-labelledby") or "").split()}
        assert used <= set(reader.ids)


def test_every_picture_has_a_name_and_words(page, journey):
    for html in (page, journey):
        svgs = re.findall(r"<svg (?!class=.key).*?</svg>", html, re.DOTALL)
        assert len(svgs) >= 6
        for svg in svgs:
            assert re.search(r"<title id=[^>]+>[^<]+</title><desc id=[^>]+>[^<]+</desc>", svg)
            assert 'role="img"' in svg and "viewBox" in svg
            assert not re.search(r"#0000\d\d|font-family|DejaVu|<metadata", svg)


def test_the_same_ledger_gives_the_same_bytes(told, page, journey, tmp_path: Path):
    ledger, decision = told
    assert decision_page(ledger, decision.lock) == page
    with Ledger(ledger.where) as again:
        assert decision_page(again, decision.lock[7:19]) == page


def judged(folder: Path, options: dict[str, story.Truth], failing: dict[str, str] | None = None, **changed: object):
    ledger = Ledger(folder / "ledger.db")
    asked = story.lock(list(options), **{"require": (), **changed})
    measure = {name: story.model_values(truth) for name, truth in options.items()}
    return ledger, story.race(ledger, asked, measure, failing=failing)


def shown(ledger: Ledger, decision: Decision) -> str:
    html = decision_page(ledger, decision.lock)
    text = Reader(html).text
    assert decision.answer in text
    for standing in decision.standings:
        assert standing.option in text and standing.why in text
    return text


SHORT = {"race": 25, "fresh": 5}


def test_no_option_meets_the_constraint(tmp_path: Path):
    ledger, decision = judged(
        tmp_path, {"a": (2, 0.6, 9), "b": (3, 0.7, 8)}, require=("accuracy >= 0.95",), blocks=SHORT
    )
    assert decision.verdict == "none"
    text = shown(ledger, decision)
    assert "no option will do" in text and "none to measure again" in text and "or looser" in text


def test_not_enough_evidence_says_how_much_more(tmp_path: Path):
    ledger, decision = judged(
        tmp_path, {"a": (2, 0.8, 9), "b": (3, 0.86, 8)}, require=("accuracy >= 0.77",), blocks={"race": 4, "fresh": 0},
        objective="accuracy",
    )  # fmt: skip
    assert decision.verdict == "undecided" and decision.more_blocks
    text = shown(ledger, decision)
    assert "not enough evidence" in text and f"{decision.more_blocks:,} more blocks would settle it" in text


def test_an_option_that_leads_is_not_called_chosen(tmp_path: Path):
    options = {"a": (4.0, 0.95, 9.0), "b": (2.0, 0.71, 8.0)}
    ledger, decision = judged(
        tmp_path, options, require=("accuracy >= 0.7",), blocks={"race": 12, "fresh": 0}, objective="latency"
    )
    assert (decision.verdict, decision.chosen) == ("undecided", "a")
    text = shown(ledger, decision)
    assert "leading, not settled" in text and "not enough evidence" in text and "✓chosen" not in text


def test_a_tie(tmp_path: Path):
    ledger, decision = judged(tmp_path, {"a": (2, 0.8, 9), "b": (2, 0.8, 8)}, blocks=SHORT)
    assert decision.verdict == "tie"
    assert "=tie" in shown(ledger, decision)


def test_an_option_that_failed_is_shown_with_its_reason(tmp_path: Path):
    why = "failed: <b>no such operator</b> & more"
    ledger, decision = judged(
        tmp_path, {"a": (2, 0.8, 9), "b": (1, 0.8, 8)}, {"b": why.removeprefix("failed: ")}, blocks=SHORT
    )
    assert decision.standing("b").outcome == "failed" and decision.standing("b").why == why
    assert "mend that" in shown(ledger, decision)


def test_nothing_could_be_measured(tmp_path: Path):
    ledger, decision = judged(
        tmp_path, {"a": (2, 0.8, 9), "b": (1, 0.8, 8)}, {"a": "no file", "b": "no file"}, blocks=SHORT
    )
    assert decision.verdict == "none" and not any(s.measured for s in decision.standings)
    assert "<svg" not in decision_page(ledger, decision.lock)
    shown(ledger, decision)


def test_one_option_and_exact_measures_only(tmp_path: Path):
    exact = tuple(m for m in story.MEASURES if m.kind == "exact")
    ledger = Ledger(tmp_path / "ledger.db")
    for options in (["a"], ["a", "b"]):
        asked = story.lock(options, ("size <= 50",), measures=exact, objective="size", cost="size", blocks=SHORT)
        sizes = {name: lambda _, size=size: {"size": size} for name, size in zip(options, (1.0, 2.0), strict=False)}
        decision = story.race(ledger, asked, sizes)
        assert decision.chosen == "a" and "Every figure was measured without error" in shown(ledger, decision)


def test_ends_that_are_not_known_are_said_and_drawn(tmp_path: Path):
    ledger, decision = judged(tmp_path, {"a": (2, 0.8, 9), "b": (9, 0.8, 8)}, blocks={"race": 1, "fresh": 0})
    assert decision.standing("a").measured["latency"].high is None
    assert "(no interval)" in shown(ledger, decision)


HOSTILE = "<script>alert(1)</script>:x='\"><img src=x onerror=alert(2)>&amp;$x^2$"


def test_a_hostile_name_is_text_and_nothing_else(tmp_path: Path):
    ledger = Ledger(tmp_path / "ledger.db")
    options = {HOSTILE: (2.0, 0.9, 9.0), "b": (4.0, 0.9, 8.0)}
    exhibits = [
        Table(title=HOSTILE, columns=(HOSTILE, "n"), rows=((HOSTILE, 1), (HOSTILE, None)), note=HOSTILE),
        Curves(title=HOSTILE, x=HOSTILE, y=HOSTILE, lines=(Line(name=HOSTILE, x=(HOSTILE, "b"), y=(1.0, None)),)),
        Curves(title=HOSTILE, x=HOSTILE, y=HOSTILE, lines=(Line(name=HOSTILE, x=(1.0, 2.0), y=(1.0, 2.0)),)),
    ]
    asked = story.lock(list(options), (), question=HOSTILE, assumptions={HOSTILE: HOSTILE}, blocks=SHORT)
    decision = story.race(ledger, asked, {k: story.model_values(v) for k, v in options.items()}, exhibits)
    html = decision_page(ledger, decision.lock)
    assert not [tag for tag, _ in Reader(html).tags if tag in ("script", "img")]
    assert Reader(html).text.count("<script>alert(1)</script>") > 10
    html = journey_page(ledger, HOSTILE, [Step(HOSTILE, HOSTILE, decision.lock, exhibits)])
    assert not [tag for tag, _ in Reader(html).tags if tag in ("script", "img")]


def test_a_journey_names_every_step_and_answer_first(told, journey):
    decision = told[1]
    reader = Reader(journey)
    contents = journey[: journey.index("<section")]
    for heading in ("Looking at the data", "A smaller model", "When to train again"):
        assert heading in contents
    assert decision.answer in contents and "1 decision<" in contents
    assert "A first paragraph with code and <b>." in reader.text and "A year of flights & more" in reader.text
    for column in story.costs().columns:
        assert column in reader.text
    targets = {str(at["href"]) for tag, at in reader.tags if tag == "a"}
    assert targets == {"#s1", "#s2", "#s3"}


def test_a_journey_of_nothing_but_text(told):
    html = journey_page(told[0], "Nothing", [Step("One", "Text.")])
    assert "Text." in Reader(html).text and "0 decisions" in html


def test_a_lock_without_a_decision_says_how_to_finish(tmp_path: Path):
    ledger, asked = Ledger(tmp_path / "ledger.db"), story.lock(["a"])
    ledger.save_lock(asked)
    with pytest.raises(UsageError, match=r"nothing is decided under lock \w{12} yet.*weigh decide compress/quantize"):
        decision_page(ledger, asked.digest())
    with pytest.raises(LedgerError, match="there is no lock"):
        decision_page(ledger, "ffff")


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_page("<p>é</p>", tmp_path / "new" / "page.html")
    assert path.read_text(encoding="utf-8") == "<p>é</p>" and path.stat().st_mode & 0o777 == 0o644
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_page("<p>other</p>", path)
    assert path.read_text(encoding="utf-8") == "<p>é</p>"
    assert [item.name for item in path.parent.iterdir()] == ["page.html"]


def test_values_drawn_for_the_story_are_what_they_claim():
    """The story's own truth: medians and shares as stated, so that a page about it can be read."""
    values = [story.model_values((2.0, 0.9, 5.0))(np.random.default_rng(i)) for i in range(300)]
    assert abs(np.median([v["latency"] for v in values]) - 2.0) < 0.05
    assert abs(np.mean([v["accuracy"] for v in values]) - 0.9) < 0.02


def test_what_would_be_chosen_with_another_bound_is_what_a_race_says(told):
    """The verdict that the page names is that of the same evidence under the bound that it names."""
    ledger, decision = told
    asked, rows = ledger.lock(decision.lock), ledger.evidence(decision.lock)
    texts = [margin.text for margin in margins(asked, decision, rows) if "same evidence says" in margin.text]
    assert texts
    for text in texts:
        bound, said = re.search(r"With `(.+?)`, .* says: (.+)\.$", text).groups()
        moved = Constraint.parse(bound)
        limits = tuple(moved if c.measure == moved.measure else c for c in asked.constraints)
        again = judge(
            asked.model_copy(update={"constraints": limits}), [r for r in rows if r.block < asked.blocks.race]
        )
        assert again.chosen != decision.chosen
        assert (again.chosen or "no option") in said, (text, again.answer)


def test_a_command_names_the_ledger_and_the_records_that_are_not_the_usual_ones(told):
    ledger, decision = told
    asked = ledger.lock(decision.lock)
    assert "--ledger" not in command(asked) and "--record" not in command(asked)
    assert command(asked, "my ledger.db", "kept").endswith("--ledger 'my ledger.db' --records kept")
    assert command(asked, records=None).endswith("--no-record")
    assert shlex.split(folded(command(asked, "x.db"), 40).replace("\\\n", "")) == shlex.split(command(asked, "x.db"))
    assert folder(asked) == "in the folder that holds models"


def test_a_step_without_a_decision_has_its_answer_on_top_and_in_a_card(told):
    html = journey_page(
        told[0], "One", [Step("Which serves?", "Text.", answer="Ship `b`: better by 0.1 [0.05, 0.2] <ms>.")]
    )
    text = Reader(html).text
    assert text.count("Ship b: better by 0.1 [0.05, 0.2] <ms>.") == 2
    assert 'class="answer"' in html and "<code>b</code>" in html and "0.05,\N{NO-BREAK SPACE}0.2" in html


def test_a_table_that_goes_with_the_answer_is_never_folded_away(tmp_path: Path):
    always = story.costs().model_copy(update={"always": True})
    ledger, asked = Ledger(tmp_path / "ledger.db"), story.lock(["a", "b"], (), blocks=SHORT)
    measure = {name: story.model_values((2.0, 0.8, size)) for name, size in (("a", 9.0), ("b", 8.0))}
    decision = story.race(ledger, asked, measure, [always, story.error_by_cadence()])
    page = decision_page(ledger, decision.lock)
    assert page.count("Costs in a year") == 2 and page.index("Costs in a year") < page.index("What else was seen")
    journey = journey_page(ledger, "One", [Step("A", decision=decision.lock)])
    assert journey.index("<caption>Costs in a year") < journey.index("<details")
    assert "0.231 [0.226, 0.236]" in Reader(journey).text
    named = journey_page(ledger, "One", [Step("A", decision=decision.lock, exhibits=[always])])
    assert named.count("<caption>Costs in a year") == 1


def test_headings_go_down_one_level_at_a_time(page, journey):
    for html in (page, journey):
        levels = [int(level) for level in re.findall(r"<h([1-6])", html)]
        assert levels[0] == 1 and all(after <= before + 1 for before, after in pairwise(levels))
