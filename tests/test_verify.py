"""Change any one column, number or byte: a record is refused with 3 or 4, whatever was changed beside it."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from coins import Biased, CoinTask, Fair, Troubled

from weigh import Evidence, Ledger, decide
from weigh.choice import content_digest
from weigh.engine.inline import InlineEngine
from weigh.migrations import MIGRATIONS, TABLES, seal
from weigh.record import seal as seal_text
from weigh.verify import Verification, verify


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    decide(
        "coins:Coins", CoinTask(blocks=6, fresh=2, tosses=10), options=[Fair(), Biased(p=0.99), Troubled()],
        ledger=folder / "ledger.db", records=folder, engine=InlineEngine(),
    )  # fmt: skip
    return folder


@pytest.fixture
def copied(recorded: Path, tmp_path: Path) -> Path:
    shutil.copytree(recorded, tmp_path / "copy")
    return tmp_path / "copy"


def check(folder: Path) -> Verification:
    return verify(next(folder.glob("*.md")), folder / "ledger.db")


def change(folder: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(folder / "ledger.db") as base:
        base.execute(statement, values)
    base.close()


def test_an_untouched_record_verifies_and_nothing_is_written(copied: Path) -> None:
    files = {path: path.read_bytes() for path in copied.iterdir()}
    assert check(copied).code == 0
    assert {path: path.read_bytes() for path in copied.iterdir()} == files


def flips(value: Any) -> Iterator[Any]:
    """Other values of a column: one character or digit away, nothing, and of another type."""
    if isinstance(value, int):
        yield from (value + 1000, "x")
        return
    place = random.Random(len(value)).randrange(len(value))
    yield from (value[:place] + ("7" if value[place] != "7" else "8") + value[place + 1 :], "", b"\x00\xff")


@pytest.mark.parametrize("table", TABLES)
def test_every_column_of_every_table(copied: Path, table: str) -> None:
    with sqlite3.connect(copied / "ledger.db") as base:
        base.row_factory = sqlite3.Row
        rows = base.execute(f"SELECT rowid, * FROM {table}").fetchall()
    base.close()
    row = random.Random(0).choice(rows)
    for column in (*TABLES[table], "seal"):
        for other in flips(row[column]):
            change(copied, f"UPDATE {table} SET {column} = ? WHERE rowid = ?", other, row["rowid"])
            found = check(copied)
            assert found.code in (3, 4) and found.text, (column, other)
            change(copied, f"UPDATE {table} SET {column} = ? WHERE rowid = ?", row[column], row["rowid"])
    assert check(copied).code == 0


@pytest.mark.parametrize("table", TABLES)
def test_rows_and_tables_that_are_missing(copied: Path, table: str) -> None:
    change(copied, f"DELETE FROM {table}")
    assert check(copied).code == 4
    change(copied, f"DROP TABLE {table}")
    found = check(copied)
    assert found.code == 4 and "is damaged: restore it" in found.text


@pytest.mark.parametrize("version", [0, 1, len(MIGRATIONS) + 1, "1x", "", b"\x00", -1, 10**12])
def test_the_version_of_the_tables(copied: Path, version: object) -> None:
    change(copied, "UPDATE weigh_schema SET version = ?", version)
    assert check(copied).code == 4


def test_no_ledger_and_an_empty_one(copied: Path) -> None:
    (copied / "ledger.db").unlink()
    assert check(copied).code == 4
    (copied / "ledger.db").touch()
    assert check(copied).code == 4
    assert (copied / "ledger.db").stat().st_size == 0


def test_every_byte_of_the_record(copied: Path) -> None:
    path = next(copied.glob("*.md"))
    whole = path.read_bytes()
    with Ledger(copied / "ledger.db", readonly=True) as ledger:
        for place in random.Random(1).sample(range(len(whole)), 150):
            for other in (
                whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :],
                whole[:place] + whole[place + 1 :],
            ):
                path.write_bytes(other)
                assert verify(path, ledger).code == 3
        path.write_bytes(whole + b"\n")
        assert verify(path, ledger).code == 3


def rehashed(folder: Path, table: str, columns: dict[str, Any]) -> None:
    """Change a row with its seal, as who knows the code would."""
    with sqlite3.connect(folder / "ledger.db") as base:
        base.row_factory = sqlite3.Row
        row = dict(base.execute(f"SELECT {', '.join(TABLES[table])} FROM {table} LIMIT 1").fetchone())
        changed = {**row, **columns}
        names = ", ".join(f"{name} = ?" for name in (*changed, "seal"))
        first = f"(SELECT rowid FROM {table} LIMIT 1)"
        base.execute(f"UPDATE {table} SET {names} WHERE rowid = {first}", (*changed.values(), seal(changed)))
    base.close()


@pytest.mark.parametrize(
    "edit",
    [
        {"values": {"heads": [0.0], "weight": 1.0}},
        {"values": {"heads": ["ghost"]}},
        {"values": {"heads": [], "weight": 1.0}},
        {"values": {}},
        {"option": "ghost"},
        {"block": 10**6},
    ],
)
def test_evidence_that_was_changed_with_its_digests(copied: Path, edit: dict[str, Any]) -> None:
    with sqlite3.connect(copied / "ledger.db") as base:
        (body,) = base.execute("SELECT body FROM weigh_evidence LIMIT 1").fetchone()
    base.close()
    changed = {**json.loads(body), **edit}
    try:
        digest = Evidence.model_validate(changed).digest()
    except ValueError:
        digest = content_digest(changed)
    keys = {name: edit[name] for name in ("option", "block") if name in edit}
    rehashed(copied, "weigh_evidence", {**keys, "digest": digest, "body": json.dumps(changed)})
    assert check(copied).code == 3


def test_what_is_shown_beside_a_decision_and_its_day(copied: Path) -> None:
    rehashed(copied, "weigh_decision", {"exhibits": "[]"})
    assert check(copied).code == 3
    rehashed(copied, "weigh_decision", {"exhibits": '[{"kind": "nothing"}]'})
    assert check(copied).code == 3
    rehashed(copied, "weigh_decision", {"at": "2001-02-03T04:05:06+00:00"})
    assert check(copied).code == 3
    rehashed(copied, "weigh_lock", {"body": "{}"})
    assert check(copied).code == 3


def test_a_record_that_was_dated_back(copied: Path) -> None:
    path = next(copied.glob("*.md"))
    front = yaml.safe_load(path.read_text().split("---\n")[1])
    text = seal_text(path.read_text().replace(str(front["created"]), "2001-02-03"))
    path.write_text(text)
    assert check(copied).code == 3
    rehashed(copied, "weigh_record", {"digest": content_digest(text)})
    assert check(copied).code == 3
    change(copied, "DELETE FROM weigh_decision")
    assert check(copied).code == 4


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  rows: ", "  raws: "),
        ("  rows: ", "  rows: -"),
        ("x-evidence:\n", "x-evidence: {}\nx-other:\n"),
        ("x-evidence:\n", "x-evidence: null\nx-other:\n"),
        ("x-risk: 0.05", "x-risk: .nan"),
        ("x-risk: 0.05", "x-risk: " + "[" * 3000),
        ("  seed: 0", "  seed: " + "9" * 5000),
        ("  seed: 0", "  seed: 2001-13-45"),
        ("category: performance", 'category: "\\ud800"'),
        ("x-lock:\n", 'x-lock:\n  "\\udc00": 1\n'),
        ("type: adr", "? [a]\n: b\ntype: adr"),
    ],
)
def test_front_matter_that_was_changed_and_sealed_again(copied: Path, old: str, new: str) -> None:
    path = next(copied.glob("*.md"))
    assert old in path.read_text()
    path.write_text(seal_text(path.read_text().replace(old, new, 1)))
    assert check(copied).code == 3


def test_a_ledger_with_damaged_pages(copied: Path) -> None:
    whole = (copied / "ledger.db").read_bytes()
    for start in (0, 16, 100, 4096 - 200):
        (copied / "ledger.db").write_bytes(whole[:start] + b"\xff" * 100 + whole[start + 100 :])
        assert check(copied).code == 4
