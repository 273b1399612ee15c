"""The ledger on SQLite and on a real PostgreSQL: the same tests."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from coins import Biased, CoinTask, Fair

from weigh import Ledger, decide, judge
from weigh.engine.inline import InlineEngine
from weigh.evidence import Evidence, Where
from weigh.ledger import MIGRATIONS, LedgerError

HERE = Path(__file__).parent


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "ledger.db")
    made: str = request.getfixturevalue("database")
    return made


def row(block: int, option: str = "fair", lock: str = "sha256:abc") -> Evidence:
    return Evidence(
        lock=lock, option=option, settings={}, block=block, seed=block, values={"heads": [1.0, 0.1 + 0.2]},
        where=Where.here(), at="2026-01-01T00:00:00Z",
    )  # fmt: skip


def test_evidence_comes_back_as_it_went_in(where: str) -> None:
    with Ledger(where) as ledger:
        ledger.append([row(1), row(0), row(0, "biased")])
        assert ledger.evidence("sha256:abc") == [row(0, "biased"), row(0), row(1)]
        assert ledger.evidence("sha256:abc", 1) == [row(1)]
    with Ledger(where) as again:
        assert len(again.evidence("sha256:abc")) == 3


def test_what_is_there_is_never_overwritten(where: str) -> None:
    with Ledger(where) as ledger:
        ledger.append([row(0)])
        ledger.append([row(0).model_copy(update={"seconds": 9.0}), row(1)])
        assert [r.seconds for r in ledger.evidence("sha256:abc")] == [0.0, 0.0]


def test_a_decision_is_kept_with_its_exhibits(where: str) -> None:
    decision = decide(
        "coins:Coins", CoinTask(), options=[Fair(), Biased(p=0.8)], ledger=where, records=None, engine=InlineEngine()
    )
    with Ledger(where) as ledger:
        assert ledger.decision(decision.lock) == decision == ledger.decision(decision.lock[7:15])
        assert judge(ledger.lock(decision.lock), ledger.evidence(decision.lock)) == decision
        assert [exhibit.title for exhibit in ledger.exhibits(decision.lock)] == ["Coins"]
        assert [shown["answer"] for shown in ledger.decisions()] == [decision.answer]
        rows = list(ledger.export())
        ledger.save_lock(ledger.lock(decision.lock).model_copy(update={"seed": 9}))
        with pytest.raises(LedgerError, match=r"2 locks in .* start with '': .*; type more of it"):
            ledger.lock("")
        with pytest.raises(LedgerError, match="there is no lock 'zz'"):
            ledger.lock("zz")
    assert all(isinstance(row["body"], dict) for row in rows if "body" in row)
    tables = [row["table"] for row in rows]
    assert tables.count("weigh_lock") == tables.count("weigh_decision") == 1
    assert tables.count("weigh_evidence") == decision.rows


def test_an_import_never_mixes_two_measurements_of_one_question(where: str, tmp_path: Path) -> None:
    """The evidence and the decision under a lock are those of one run, whichever came first."""
    for name, seconds in (("one.db", 0.0), ("two.db", 9.0)):
        with Ledger(tmp_path / name) as ledger:
            ledger.append([row(block).model_copy(update={"seconds": seconds}) for block in (0, 1)])
            ledger.append([row(0, lock=f"sha256:only {name}")])
    one, two = [list(Ledger(tmp_path / name, readonly=True).export()) for name in ("one.db", "two.db")]
    with Ledger(where) as ledger:
        ledger.append([row(0)])
        assert ledger.load(two) == (1, ("sha256:abc",)), "the other question is taken in"
        assert [r.seconds for r in ledger.evidence("sha256:abc")] == [0.0]
        assert ledger.load(one) == (3, ()), "the same measurement goes on"
        assert ledger.load(one) == (3, ()) and [r.seconds for r in ledger.evidence("sha256:abc")] == [0.0, 0.0]
    with Ledger(tmp_path / "both.db") as ledger:
        with pytest.raises(LedgerError, match="measured twice in what is given: give each export alone"):
            ledger.load([*one, *two])
        assert not list(ledger.export())


def test_a_decision_is_told_on_its_own_evidence_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    made = decide(
        "coins:Coins", CoinTask(), options=[Fair(), Biased(p=0.8)], ledger=path, records=None, engine=InlineEngine()
    )
    with Ledger(path) as ledger:
        assert len(ledger.judged(made)) == made.rows
        whole = list(ledger.export())
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM weigh_evidence WHERE block = 0")
    connection.close()
    with Ledger(path) as ledger:
        with pytest.raises(LedgerError, match=rf"has \d+ of the {made.rows} rows of evidence .* `weigh ledger import`"):
            ledger.judged(made)
        ledger.load(whole)
        assert len(ledger.judged(made)) == made.rows


def test_many_writers_at_once_lose_nothing(where: str) -> None:
    code = (
        "import sys; from test_ledger import row; from weigh import Ledger\n"
        "ledger = Ledger(sys.argv[1])\n"
        "mine = int(sys.argv[2]); names = [f'w{mine}', 'shared', 'too'][:: 1 if mine % 2 else -1]\n"
        "for block in range(40):\n"
        "    ledger.append([row(block, name).model_copy(update={'seconds': mine}) for name in names])"
    )
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    runs = [subprocess.Popen([sys.executable, "-c", code, where, str(i)], env=environment) for i in range(4)]
    assert [run.wait() for run in runs] == [0] * 4
    with Ledger(where) as ledger:
        rows = ledger.evidence("sha256:abc")
    assert len(rows) == 40 * 6
    assert {r.option for r in rows} == {"w0", "w1", "w2", "w3", "shared", "too"}
    shared, too = ([r.seconds for r in rows if r.option == name] for name in ("shared", "too"))
    assert shared == too, "of two writers of one block one wins with all of it"


def test_a_ledger_of_a_newer_version_is_refused(where: str) -> None:
    from sqlalchemy import create_engine, text

    Ledger(where).close()
    engine = create_engine(where if "://" in where else f"sqlite:///{where}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE weigh_schema SET version = 99"))
    engine.dispose()
    with pytest.raises(LedgerError, match=rf"has schema 99, this weigh knows {len(MIGRATIONS)}: pip install -U weigh"):
        Ledger(where)


def test_migrating_twice_changes_nothing(where: str) -> None:
    with Ledger(where) as ledger:
        ledger.append([row(0)])
    with Ledger(where) as ledger:
        assert len(ledger.evidence("sha256:abc")) == 1


def test_a_file_that_is_no_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is a text file, and not a small one at that. " * 100)
    with pytest.raises(LedgerError, match=r"is not a ledger: move the file away, or name another with --ledger"):
        Ledger(path)


def test_a_damaged_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        ledger.append([row(block) for block in range(400)])
    size = path.stat().st_size
    with path.open("r+b") as stream:
        for page in range(3, size // 4096):
            stream.seek(page * 4096)
            stream.write(b"\xff" * 2048)
    with pytest.raises(LedgerError, match=r"damaged|edited"), Ledger(path) as ledger:
        ledger.evidence("sha256:abc")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match=r"cannot be made: .*name another with --ledger"):
        Ledger(tmp_path / "file" / "ledger.db")


def test_a_driver_that_does_not_exist() -> None:
    with pytest.raises(LedgerError, match=r"cannot be opened: .*pip install 'weigh\[postgres\]'"):
        Ledger("postgresql+nosuchdriver://localhost/x")


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(LedgerError, match=r"the ledger postgresql\+psycopg://.*: "):
        Ledger("postgresql+psycopg://nobody@127.0.0.1:1/x")


def test_a_full_disk_says_so_and_keeps_what_was_measured(tmp_path: Path) -> None:
    from sqlalchemy import text

    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.append([row(0)])
        with ledger._base._engine.connect() as connection:
            connection.execute(text("PRAGMA max_page_count = 20"))
            connection.commit()
        with pytest.raises(LedgerError, match="the disk is full: free some room and type the same command again"):
            ledger.append([row(block) for block in range(1, 2000)])
        assert ledger.evidence("sha256:abc") == [row(0)]


def test_a_ledger_of_the_version_before_is_brought_up_to_date(where: str) -> None:
    from sqlalchemy import create_engine, text

    engine = create_engine(where if "://" in where else f"sqlite:///{where}")
    with engine.begin() as connection:
        MIGRATIONS[0](connection)
        connection.execute(text("CREATE TABLE weigh_schema (version INTEGER NOT NULL)"))
        connection.execute(text("INSERT INTO weigh_schema VALUES (1)"))
        old = {"lock": row(0).lock, "digest": row(0).digest(), "body": row(0).model_dump_json()}
        connection.execute(text("INSERT INTO weigh_evidence VALUES (:lock, 0, 'fair', :digest, :body)"), old)
        connection.execute(
            text("INSERT INTO weigh_decision VALUES ('sha256:abc', 'd', '{}', '[]', 'r.md', 'e', 'now')")
        )
        connection.execute(text("INSERT INTO weigh_decision VALUES ('sha256:def', 'd', '{}', '[]', '', '', 'now')"))
    engine.dispose()
    with Ledger(where, readonly=True) as ledger:
        assert ledger.evidence("sha256:abc") == [row(0)]
        assert ledger.records("sha256:abc") == {"r.md": "e"} and ledger.records("sha256:def") == {}
        assert ledger.record("sha256:abc") == "r.md" and ledger.record("sha256:def") == ""
        assert len(ledger.decisions()) == 2


def test_what_is_only_read_is_not_written(where: str) -> None:
    with Ledger(where) as ledger:
        ledger.append([row(0)])
    with Ledger(where, readonly=True) as ledger:
        assert ledger.evidence("sha256:abc") == [row(0)]
        with pytest.raises(LedgerError, match="it is read-only: name a ledger that you may write"):
            ledger.append([row(1)])


def test_a_ledger_on_media_that_cannot_be_written() -> None:
    folder = Path(tempfile.mkdtemp())
    with Ledger(folder / "ledger.db") as ledger:
        ledger.append([row(0)])
    folder.chmod(0o555)
    (folder / "ledger.db").chmod(0o444)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        with Ledger(folder / "ledger.db", readonly=True) as ledger:
            assert ledger.evidence("sha256:abc") == [row(0)]
        with pytest.raises(LedgerError, match=r"read-only|cannot be opened"), Ledger(folder / "ledger.db") as ledger:
            ledger.append([row(1)])
    finally:
        os.seteuid(user)
        shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["a?mode=memory", "a%20b.db", "#1.db", "file:x", "sqlite:///three.db"])
def test_a_file_is_called_as_it_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with Ledger(name) as ledger:
        ledger.append([row(0)])
    assert [path.name for path in tmp_path.iterdir()] == [name.removeprefix("sqlite:///")]
    with Ledger(name, readonly=True) as ledger:
        assert ledger.evidence("sha256:abc") == [row(0)]


@pytest.mark.parametrize("name", ["", " ", ":memory:", "sqlite://", "sqlite:///:memory:"])
def test_a_ledger_that_would_be_lost(name: str) -> None:
    with pytest.raises(LedgerError, match=r"name a file such as --ledger ledger\.db"):
        Ledger(name)


def test_folders_are_not_made_on_a_whim(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="is a folder: name a file"):
        Ledger(tmp_path)
    with pytest.raises(LedgerError, match=r"cannot be made: .*make .*a/b yourself"):
        Ledger(tmp_path / "a" / "b" / "ledger.db")
    assert list(tmp_path.iterdir()) == []
    Ledger(tmp_path / ".weigh" / "ledger.db").close()


def test_a_password_is_never_shown() -> None:
    for where in (
        "postgresql+psycopg://me:secret@127.0.0.1:1/x",
        "postgresql+psycopg://me@127.0.0.1:1/x?password=secret",
    ):
        with pytest.raises(LedgerError, match=r"\*\*\*") as raised:
            Ledger(where)
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (
            "CREATE TABLE weigh_lock (digest TEXT)",
            "damaged or not a ledger of weigh: it has weigh_lock and no weigh_schema",
        ),
        ("CREATE TABLE places (url TEXT)", "another program's database, with places; name another with --ledger"),
        ("CREATE TABLE weigh_schema (version TEXT)", "is damaged: its version reads"),
    ],
)
def test_a_database_that_is_no_ledger(tmp_path: Path, statement: str, says: str) -> None:
    path = tmp_path / "ledger.db"
    with sqlite3.connect(path) as base:
        base.execute(statement)
    base.close()
    for readonly in (False, True):
        with pytest.raises(LedgerError, match=says):
            Ledger(path, readonly=readonly)


def test_an_edited_decision_does_not_hide_the_others(tmp_path: Path) -> None:
    for seed in (1, 2):
        decide(
            "coins:Coins", CoinTask(), options=[Fair(), Biased(p=0.9)], seed=seed, ledger=tmp_path / "l.db",
            records=None, engine=InlineEngine(),
        )  # fmt: skip
    with sqlite3.connect(tmp_path / "l.db") as base:
        base.execute("UPDATE weigh_decision SET body = '{}' WHERE rowid = 1")
    base.close()
    with Ledger(tmp_path / "l.db") as ledger:
        answers = [listed["answer"] for listed in ledger.decisions()]
    assert sum("was edited" in answer for answer in answers) == 1 and sum("biased" in answer for answer in answers) == 1
