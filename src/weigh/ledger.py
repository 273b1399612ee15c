"""The ledger: locks, evidence, decisions and records in SQLite (the default) or PostgreSQL. Appended, never edited."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from pydantic import TypeAdapter

from weigh.choice import Exhibit, Frozen, unknown
from weigh.database import Database
from weigh.database import LedgerError as LedgerError
from weigh.database import public as public
from weigh.decision import Decision, Lock
from weigh.evidence import Evidence, evidence_digest
from weigh.migrations import MIGRATIONS as MIGRATIONS
from weigh.migrations import TABLES, seal

DEFAULT = ".weigh/ledger.db"
_EXHIBITS: TypeAdapter[list[Exhibit]] = TypeAdapter(list[Exhibit])
_Kind = TypeVar("_Kind", bound=Frozen)
_TEXTS: Mapping[str, Mapping[str, Callable[[Any], str]]] = {
    "weigh_lock": {"body": lambda body: Lock.model_validate(body).model_dump_json()},
    "weigh_evidence": {"body": lambda body: Evidence.model_validate(body).model_dump_json()},
    "weigh_decision": {
        "body": lambda body: Decision.model_validate(body).model_dump_json(),
        "exhibits": lambda shown: _EXHIBITS.dump_json(_EXHIBITS.validate_python(shown)).decode(),
    },
    "weigh_record": {},
}
"""How what an export nests becomes the text of its column again."""


class Edited(LedgerError):
    """A row no longer matches the digest that was written with it."""


class Kept(NamedTuple):
    """A decision as the ledger keeps it: with what people are shown beside it, and when it was taken."""

    decision: Decision
    exhibits: list[Exhibit]
    at: datetime

    @property
    def day(self) -> date:
        """The day (UTC) on which it was taken."""
        return self.at.date()


class Loaded(NamedTuple):
    """What came of an export: how many of its rows are in the ledger, and the locks whose rows were left out."""

    rows: int
    left: tuple[str, ...] = ()


class Ledger:
    """Evidence, locks, decisions and records, safe for many writers at once.

    Args:
        where: a file (SQLite) or a URL such as ``postgresql+psycopg://user@host/name``.
        readonly: nothing is written, not even a table; works on media that cannot be written.

    Raises:
        LedgerError: it cannot be opened, is damaged, or was written by a newer weigh.
    """

    def __init__(self, where: str | Path = DEFAULT, readonly: bool = False) -> None:
        self._base = Database(where, readonly)
        self.where = self._base.where

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of connections."""
        self._base.close()

    # locks

    def save_lock(self, lock: Lock) -> None:
        """Keep a lock; keeping it again changes nothing."""
        self._add("weigh_lock", [{"digest": lock.digest(), "body": lock.model_dump_json(), "at": _now()}])

    def lock(self, digest: str) -> Lock:
        """The lock of that digest, or of the one digest that starts so.

        Raises:
            LedgerError: there is none, or more than one.
            Edited: it does not match its digest.
        """
        rows = self._sealed("weigh_lock", "digest LIKE :start ESCAPE '!'", start=_start(digest))
        if len(rows) > 1:
            found = ", ".join(str(row["digest"])[7:19] for row in rows)
            raise LedgerError(f"{len(rows)} locks in {self.where} start with '{digest}': {found}; type more of it")
        if not rows:
            known = [str(row["digest"]) for row in self._base.rows("SELECT digest FROM weigh_lock")]
            raise LedgerError(unknown("lock", digest, [name[7:19] for name in known], f"in {self.where}"))
        return self._made(Lock, rows[0], f"the lock {rows[0]['digest'][7:19]}")

    def locks(self) -> list[Lock]:
        """Every lock, in the order of time.

        Raises:
            Edited: one does not match its digest.
        """
        rows = self._sealed("weigh_lock", order="at, digest")
        return [self._made(Lock, row, f"the lock {row['digest'][7:19]}") for row in rows]

    # evidence

    def append(self, rows: Sequence[Evidence]) -> None:
        """Add evidence in one transaction; what is already there (same lock, block, option) stays as it is.

        Of two writers of one block that each give all of its rows at once, one wins with all of them.
        """
        self._add(
            "weigh_evidence",
            [
                {"lock": row.lock, "block": row.block, "option": row.option, "digest": row.digest(), "body": body}
                for row in sorted(rows, key=lambda row: (row.block, row.option))
                for body in [row.model_dump_json()]
            ],
        )

    def evidence(self, lock: str, block: int | None = None) -> list[Evidence]:
        """Evidence under a lock, by block and option.

        Raises:
            Edited: a row does not match its digest.
        """
        where, values = "lock = :lock", {} if block is None else {"block": block}
        if values:
            where += " AND block = :block"
        rows = self._sealed("weigh_evidence", where, "block, option", lock=lock, **values)
        return [self._evidence(row) for row in rows]

    def judged(self, made: Decision) -> list[Evidence]:
        """The evidence that a decision was taken on.

        Raises:
            Edited: a row does not match its digest.
            LedgerError: it is not all there, or not the same.
        """
        rows = self.evidence(made.lock)
        if evidence_digest(rows) != made.evidence:
            have = f"{len(rows)} of the {made.rows}" if len(rows) < made.rows else "other"
            raise LedgerError(
                f"{self.where} has {have} rows of evidence that the decision {made.lock[7:15]} was taken on, so that "
                "nothing can be said of it: restore the ledger from a copy, or give what `weigh ledger export` printed "
                "to `weigh ledger import`"
            )
        return rows

    def _evidence(self, row: dict[str, Any]) -> Evidence:
        name = f"the evidence of {row['option']} on block {row['block']}"
        made = self._made(Evidence, row, name)
        if (made.lock, made.block, made.option) != (row["lock"], row["block"], row["option"]):
            raise self._edited(name)
        return made

    # decisions

    def save_decision(self, decision: Decision, exhibits: Sequence[Exhibit]) -> None:
        """Keep a decision with its exhibits; of two writers the first wins."""
        row = {
            "lock": decision.lock,
            "digest": decision.digest(),
            "body": decision.model_dump_json(),
            "exhibits": _EXHIBITS.dump_json(list(exhibits)).decode(),
            "at": _now(),
        }
        self._add("weigh_decision", [row])

    def kept(self, lock: str) -> Kept | None:
        """The decision under a lock (whole digest, or its start) with all that was kept, if it was taken.

        Raises:
            Edited: it does not match its digest.
        """
        rows = self._sealed("weigh_decision", "lock LIKE :start ESCAPE '!'", start=_start(lock))
        if len(rows) != 1:
            return None
        row, name = rows[0], f"the decision {rows[0]['lock'][7:19]}"
        try:
            exhibits, at = _EXHIBITS.validate_json(row["exhibits"]), datetime.fromisoformat(row["at"])
        except ValueError:
            raise self._edited(name) from None
        decision = self._made(Decision, row, name)
        if decision.lock != row["lock"]:
            raise self._edited(name)
        return Kept(decision, exhibits, at)

    def decision(self, lock: str) -> Decision | None:
        """The decision under a lock (whole digest, or its start), if it was taken."""
        kept = self.kept(lock)
        return kept and kept.decision

    def exhibits(self, lock: str) -> list[Exhibit]:
        """The exhibits that were kept with a decision."""
        kept = self.kept(lock)
        return kept.exhibits if kept else []

    def decisions(self) -> list[dict[str, str]]:
        """Every decision: lock, record, at, choice and answer; the latest first. One that was edited says so."""
        columns = ", ".join(TABLES["weigh_decision"])
        written = {row["lock"]: str(row["path"]) for row in self._base.rows("SELECT * FROM weigh_record ORDER BY at")}
        rows = self._base.rows(f"SELECT {columns}, seal FROM weigh_decision ORDER BY at DESC, lock")
        return [self._listed(row, written.get(row["lock"], "")) for row in rows]

    def _listed(self, row: dict[str, Any], record: str) -> dict[str, str]:
        head = {"lock": str(row["lock"]), "record": record, "at": str(row["at"])}
        try:
            made = self._made(Decision, self._whole("weigh_decision", row), "")
        except Edited:
            return {**head, "choice": "", "answer": f"it was edited in {self.where}, and cannot be relied on"}
        return {**head, "choice": made.choice, "answer": made.answer}

    # records

    def save_record(self, lock: str, path: str, digest: str) -> None:
        """Keep where the record of a decision was written, and its digest."""
        self._add("weigh_record", [{"lock": lock, "path": path, "digest": digest, "at": _now()}])

    def record(self, lock: str) -> str:
        """The path of the record of the decision under a lock, the latest of several; empty where none was written."""
        rows = self._base.rows("SELECT path FROM weigh_record WHERE lock = :lock ORDER BY at", lock=lock)
        return str(rows[-1]["path"]) if rows else ""

    def records(self, lock: str) -> dict[str, str]:
        """The records of the decision under a lock: path -> digest of the text."""
        return {row["path"]: row["digest"] for row in self._sealed("weigh_record", "lock = :lock", "path", lock=lock)}

    def export(self) -> Iterator[dict[str, Any]]:
        """Everything, one JSON object a row: ``{"table": ..., column: value, ...}``; what is kept as JSON is nested."""
        for table, columns in TABLES.items():
            for row in self._base.rows(f"SELECT {', '.join(columns)}, seal FROM {table} ORDER BY 1, 2, 3"):
                yield {
                    "table": table,
                    **row,
                    **{name: _json(row[name]) for name in ("body", "exhibits") if name in row},
                }

    def load(self, rows: Iterable[Mapping[str, Any]]) -> Loaded:
        """Add rows that `export` gave, seals and all. What is there already stays as it is.

        Where the same question was measured another time here, all rows of its lock are left out: a decision follows
        from the evidence of one measurement.

        Raises:
            Edited: a row is not the one that was exported; none is then added.
            LedgerError: what is given is no export, or two of them; none is then added.
        """
        found: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}
        for row in rows:
            table = str(row.get("table"))
            if table not in found:
                raise LedgerError(f"a row of '{table}' is no row of a ledger: give what `weigh ledger export` printed")
            found[table].append(_exported(table, row))
        left = self._measured_otherwise(found)
        found = {table: [row for row in of if row[TABLES[table][0]] not in left] for table, of in found.items()}
        for table, added in found.items():
            self._base.insert(table, added)
        return Loaded(sum(map(len, found.values())), tuple(sorted(left)))

    def _measured_otherwise(self, found: Mapping[str, Sequence[dict[str, Any]]]) -> set[str]:
        """Locks under which other evidence is here, or another decision, than is given."""
        left = set()
        for table, key in (("weigh_evidence", ("lock", "block", "option")), ("weigh_decision", ("lock",))):
            given: dict[tuple[Any, ...], str] = {}
            for row in found[table]:
                if given.setdefault(tuple(row[name] for name in key), row["digest"]) != row["digest"]:
                    raise LedgerError(
                        f"the decision {row['lock'][7:15]} was measured twice in what is given: give each export alone"
                    )
            query = f"SELECT {', '.join(key)}, digest FROM {table} WHERE lock = :lock"
            here = [row for lock in {of[0] for of in given} for row in self._base.rows(query, lock=lock)]
            for row in here:
                if given.get(tuple(row[name] for name in key), row["digest"]) != row["digest"]:
                    left.add(str(row["lock"]))
        return left

    # rows

    def _add(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        self._base.insert(table, [{**row, "seal": seal(row)} for row in rows])

    def _sealed(self, table: str, where: str = "1 = 1", order: str = "1", **values: Any) -> list[dict[str, Any]]:
        """Rows whose seals are whole."""
        columns = TABLES[table]
        query = f"SELECT {', '.join(columns)}, seal FROM {table} WHERE {where} ORDER BY {order}"
        return [self._whole(table, row) for row in self._base.rows(query, **values)]

    def _whole(self, table: str, row: dict[str, Any]) -> dict[str, Any]:
        """A row without its seal, which must not be broken."""
        if not _is_whole(table, row):
            raise self._edited(f"a row of {table} ({str(row[TABLES[table][0]])[:19]})")
        return {name: row[name] for name in TABLES[table]}

    def _made(self, kind: type[_Kind], row: dict[str, Any], name: str) -> _Kind:
        """What a row's body says, which must be what its digest says."""
        try:
            made = kind.model_validate_json(row["body"])
            whole = made.digest() == row["digest"]
        except ValueError:
            whole = False
        if not whole:
            raise self._edited(name)
        return made

    def _edited(self, what: str) -> Edited:
        return Edited(f"{what} in {self.where} was edited")


def _is_whole(table: str, row: Mapping[str, Any]) -> bool:
    """Whether a row's columns are those that its seal was made of."""
    typed = all(isinstance(row[name], int if name == "block" else str) for name in TABLES[table])
    return typed and row["seal"] == seal({name: row[name] for name in TABLES[table]})


def _exported(table: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as it was before `Ledger.export` nested what is kept as JSON.

    Raises:
        Edited: it is another one.
    """
    try:
        texts = {name: _TEXTS[table][name](row[name]) for name in _TEXTS[table]}
        made = {**{name: row[name] for name in (*TABLES[table], "seal")}, **texts}
        whole = _is_whole(table, made)
    except (KeyError, ValueError):
        whole = False
    if not whole:
        what = f"a row of {table} ({str(row.get(TABLES[table][0]))[:19]})"
        raise Edited(
            f"{what} is not what `weigh ledger export` printed: it was edited, or is of another version of weigh; "
            "export it again, with this version"
        )
    return made


def _json(text: Any) -> Any:
    """What a column holds as JSON; the column as it stands where it was damaged."""
    try:
        return json.loads(text)
    except (ValueError, TypeError):
        return str(text)


def _start(digest: str) -> str:
    """A pattern for what starts with a digest."""
    whole = digest if digest.startswith("sha256:") else f"sha256:{digest}"
    return "".join(f"!{sign}" if sign in "!%_" else sign for sign in whole) + "%"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
