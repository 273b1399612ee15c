"""Flip any one field or number of a record or of its evidence: it is refused."""

from __future__ import annotations

import json
import random
import re
import shutil
import sqlite3
from datetime import date
from pathlib import Path

import jsonschema
import pytest
import yaml
from coins import Biased, CoinTask, Fair, Troubled
from markdown_it import MarkdownIt

from weigh import Ledger, decide
from weigh.engine.inline import InlineEngine
from weigh.record import Front, render, seal
from weigh.verify import verify


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    decide(
        "coins:Coins", CoinTask(blocks=30, fresh=5, tosses=20), options=[Fair(), Biased(p=0.9), Troubled()],
        require=["heads >= 0.3", "weight <= 2"], ledger=folder / "ledger.db", records=folder, engine=InlineEngine(),
    )  # fmt: skip
    return folder


def record_in(folder: Path) -> Path:
    return next(folder.glob("*.md"))


def check(folder: Path) -> int:
    with Ledger(folder / "ledger.db") as ledger:
        return verify(record_in(folder), ledger).code


@pytest.fixture
def copied(recorded: Path, tmp_path: Path) -> Path:
    shutil.copytree(recorded, tmp_path / "copy")
    return tmp_path / "copy"


def test_an_untouched_record_verifies(recorded: Path) -> None:
    assert check(recorded) == 0


def test_the_front_matter_is_structured_madr_and_meets_its_published_schema(recorded: Path) -> None:
    text = record_in(recorded).read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    front = json.loads(json.dumps(front, default=str))
    jsonschema.Draft202012Validator(Front.model_json_schema(by_alias=True)).validate(front)
    required = {"title", "description", "type", "category", "tags", "status", "created", "updated", "author", "project"}
    assert required <= set(front) and all(key.startswith("x-") for key in set(front) - required)
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == [
        "Status", "Context", "Decision Drivers", "Considered Options", "Decision", "Consequences",
        "Decision Outcome", "Related Decisions", "Links", "More Information", "Audit",
    ]  # fmt: skip


def test_every_flipped_character_is_refused(copied: Path) -> None:
    """A digit or letter anywhere in the record, each refused (a sample of 200, and every number of the front)."""
    path = record_in(copied)
    text = path.read_text()
    places = [m.start() for m in re.finditer(r"\w", text)]
    with Ledger(copied / "ledger.db") as ledger:
        for place in random.Random(0).sample(places, 200):
            other = "7" if text[place] != "7" else "8"
            path.write_text(text[:place] + other + text[place + 1 :])
            assert verify(path, ledger).code == 3, text[max(0, place - 40) : place + 40]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x-risk: 0.05", "x-risk: 0.01"),
        ("x-chosen: biased:p=0.9", "x-chosen: fair"),
        ("fair: dominated", "fair: violates"),
        ("x-confirmation: confirmed", "x-confirmation: inconclusive"),
        ("  alpha: 0.05", "  alpha: 0.06"),
        ("    bound: 0.3", "    bound: 0.2"),
        ("  seed: 0", "  seed: 1"),
        ("status: accepted", "status: proposed"),
        ("created: '20", "created: '19"),
    ],
)
def test_an_edit_with_a_new_digest_is_still_refused(copied: Path, old: str, new: str) -> None:
    """Who edits the record and seals it again is caught by the evidence, or by the ledger."""
    path = record_in(copied)
    text = path.read_text()
    assert old in text
    path.write_text(seal(text.replace(old, new, 1)))
    assert check(copied) in (3, 4)


def test_edited_evidence_is_refused_row_by_row(copied: Path) -> None:
    with sqlite3.connect(copied / "ledger.db") as base:
        rows = base.execute("SELECT rowid, body FROM weigh_evidence").fetchall()
        for rowid, body in random.Random(1).sample(rows, min(25, len(rows))):
            place = random.Random(rowid).choice([m.start() for m in re.finditer(r"\d", body)])
            flipped = body[:place] + ("3" if body[place] != "3" else "4") + body[place + 1 :]
            base.execute("UPDATE weigh_evidence SET body = ? WHERE rowid = ?", (flipped, rowid))
            base.commit()
            assert check(copied) == 3, (body, flipped)
            base.execute("UPDATE weigh_evidence SET body = ? WHERE rowid = ?", (body, rowid))
            base.commit()
    assert check(copied) == 0


def test_missing_evidence_is_its_own_answer(copied: Path) -> None:
    with sqlite3.connect(copied / "ledger.db") as base:
        base.execute("DELETE FROM weigh_evidence WHERE block = 0")
    assert check(copied) == 4
    (copied / "ledger.db").unlink()
    assert check(copied) == 4


def test_evidence_swapped_between_options_is_refused(copied: Path) -> None:
    with sqlite3.connect(copied / "ledger.db") as base:
        base.execute("UPDATE weigh_evidence SET block = 900 WHERE block = 1")
    assert check(copied) == 3


HOSTILE = "<img src=x onerror=alert(1)> | `tick` [link](http://x) \x1b[31m\n# heading\n---\n- item ``` &lt; <!-- "


def test_nothing_that_a_record_quotes_is_markup(recorded: Path) -> None:
    """Read by a parser of Markdown, a hostile text gives the same elements as a tame one."""
    with Ledger(recorded / "ledger.db") as ledger:
        (row,) = ledger.decisions()
        lock, decision = ledger.lock(row["lock"]), ledger.decision(row["lock"])
    assert decision is not None

    def tokens(text: str) -> list[str]:
        first = decision.standings[0]
        standing = first.model_copy(update={"option": text, "why": text})
        changed = {"standings": (standing, *decision.standings[1:]), "answer": text, "question": text}
        changed |= {"assumptions": {text: text}, "constraints": (text,), "approximations": (text,)}
        page = render(
            lock.model_copy(update={"task": {text: text}}), decision.model_copy(update=changed), [], date(2026, 1, 1)
        )
        body = page.split("\n---\n", 1)[1].replace(page.split("x-digest: ")[1].split()[0], "")
        parsed = MarkdownIt().enable("table").parse(body)
        assert not any(token.type == "html_block" for token in parsed)
        inline = [child.type for token in parsed for child in token.children or [] if child.type != "text"]
        return [token.type for token in parsed] + [kind for kind in inline if kind != "softbreak"]

    assert tokens(HOSTILE) == tokens("tame")
    for text in ("1. one", "- one", "# one", "> one", "``", "`", "a|b"):
        assert tokens(text) == tokens("tame"), text
