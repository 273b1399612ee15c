"""The ledger: locks, evidence and decisions in SQLite (the default) or PostgreSQL. Appended, never edited."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import TypeAdapter

from weigh.choice import Exhibit, unknown
from weigh.decision import Decision, Lock
from weigh.evidence import Evidence

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

DEFAULT = ".weigh/ledger.db"
_EXHIBITS: TypeAdapter[list[Exhibit]] = TypeAdapter(list[Exhibit])


class LedgerError(Exception):
    """The ledger cannot be read or written; the message says why and what to do."""


class Edited(LedgerError):
    """A row no longer matches the digest that was written with it."""


def _first(connection: Connection) -> None:
    from sqlalchemy import text

    for statement in (
        "CREATE TABLE weigh_lock (digest TEXT PRIMARY KEY, body TEXT NOT NULL, at TEXT NOT NULL)",
        "CREATE TABLE weigh_evidence (lock TEXT NOT NULL, block INTEGER NOT NULL, option TEXT NOT NULL, "
        "digest TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (lock, block, option))",
        "CREATE TABLE weigh_decision (lock TEXT PRIMARY KEY, digest TEXT NOT NULL, body TEXT NOT NULL, "
        "exhibits TEXT NOT NULL, record TEXT NOT NULL, record_digest TEXT NOT NULL, at TEXT NOT NULL)",
    ):
        connection.execute(text(statement))


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (_first,)
"""Each takes the schema from its position to the next; append, never edit."""


class Ledger:
    """Evidence, locks and decisions, safe for many writers at once.

    Args:
        where: a file (SQLite) or a URL such as ``postgresql+psycopg://user@host/name``.

    Raises:
        LedgerError: it cannot be opened, is damaged, or was written by a newer weigh.
    """

    def __init__(self, where: str | Path = DEFAULT) -> None:
        self.where = str(where)
        self._engine = self._connect()
        try:
            with self._guard():
                self._migrate()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of connections."""
        self._engine.dispose()

    # locks

    def save_lock(self, lock: Lock) -> None:
        """Keep a lock; keeping it again changes nothing."""
        self._insert("weigh_lock", [{"digest": lock.digest(), "body": lock.model_dump_json(), "at": _now()}])

    def lock(self, digest: str) -> Lock:
        """The lock of that digest, or of the one digest that starts so."""
        rows = self._rows("SELECT digest, body FROM weigh_lock WHERE digest LIKE :start", start=f"{_full(digest)}%")
        if len(rows) != 1:
            known = [row[0] for row in self._rows("SELECT digest FROM weigh_lock")]
            raise LedgerError(unknown("lock", digest, [name[7:19] for name in known], f"in {self.where}"))
        lock = Lock.model_validate_json(rows[0][1])
        if lock.digest() != rows[0][0]:
            raise Edited(f"the lock {rows[0][0][7:19]} in {self.where} was edited")
        return lock

    # evidence

    def append(self, rows: Sequence[Evidence]) -> None:
        """Add evidence in one transaction; what is already there (same lock, block, option) stays as it is."""
        self._insert(
            "weigh_evidence",
            [
                {"lock": row.lock, "block": row.block, "option": row.option, "digest": row.digest(), "body": body}
                for row in rows
                for body in [row.model_dump_json()]
            ],
        )

    def evidence(self, lock: str, block: int | None = None) -> list[Evidence]:
        """Evidence under a lock, by block and option.

        Raises:
            Edited: a row does not match its digest.
        """
        query = "SELECT block, option, digest, body FROM weigh_evidence WHERE lock = :lock"
        if block is not None:
            query += " AND block = :block"
        rows = self._rows(query + " ORDER BY block, option", lock=lock, **({} if block is None else {"block": block}))
        return [self._checked(lock, *row) for row in rows]

    def _checked(self, lock: str, block: int, option: str, digest: str, body: str) -> Evidence:
        try:
            row = Evidence.model_validate_json(body)
            genuine = (row.lock, row.block, row.option, row.digest()) == (lock, block, option, digest)
        except ValueError:
            genuine = False
        if not genuine:
            raise Edited(f"the evidence of {option} on block {block} in {self.where} was edited")
        return row

    # decisions

    def save_decision(self, decision: Decision, exhibits: Sequence[Exhibit], record: str, record_digest: str) -> None:
        """Keep a decision with its exhibits and where its record was written."""
        row = {
            "lock": decision.lock,
            "digest": decision.digest(),
            "body": decision.model_dump_json(),
            "exhibits": _EXHIBITS.dump_json(list(exhibits)).decode(),
            "record": record,
            "record_digest": record_digest,
            "at": _now(),
        }
        self._insert("weigh_decision", [row])

    def decision(self, lock: str) -> Decision | None:
        """The decision under a lock (whole digest, or its start), if it was taken."""
        rows = self._rows("SELECT digest, body FROM weigh_decision WHERE lock LIKE :start", start=f"{_full(lock)}%")
        if len(rows) != 1:
            return None
        decision = Decision.model_validate_json(rows[0][1])
        if decision.digest() != rows[0][0]:
            raise Edited(f"the decision {lock} in {self.where} was edited")
        return decision

    def exhibits(self, lock: str) -> list[Exhibit]:
        """The exhibits that were kept with a decision."""
        rows = self._rows("SELECT exhibits FROM weigh_decision WHERE lock = :lock", lock=lock)
        return _EXHIBITS.validate_json(rows[0][0]) if rows else []

    def record_digest(self, lock: str) -> str | None:
        """The digest of the record that was written for a decision."""
        rows = self._rows("SELECT record_digest FROM weigh_decision WHERE lock = :lock", lock=lock)
        return str(rows[0][0]) if rows else None

    def decisions(self) -> list[dict[str, str]]:
        """Every decision: lock, record, at, and its answer; the latest first."""
        rows = self._rows("SELECT lock, record, at, body FROM weigh_decision ORDER BY at DESC, lock")
        return [
            {"lock": lock, "record": record, "at": at, **{key: json.loads(body)[key] for key in ("choice", "answer")}}
            for lock, record, at, body in rows
        ]

    def export(self) -> Iterator[dict[str, Any]]:
        """Everything, one JSON object a row: ``{"table": ..., column: value, ...}``."""
        for table, columns in (
            ("weigh_lock", "digest, body, at"),
            ("weigh_evidence", "lock, block, option, digest, body"),
            ("weigh_decision", "lock, digest, body, exhibits, record, record_digest, at"),
        ):
            names = columns.split(", ")
            for row in self._rows(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3"):
                yield {"table": table, **dict(zip(names, row, strict=True))}

    # plumbing

    def _connect(self) -> Engine:
        from sqlalchemy import create_engine, event
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError

        if "://" in self.where:
            try:
                return create_engine(self.where, pool_pre_ping=True)
            except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
                raise LedgerError(
                    f"the ledger {self.where} cannot be opened: {error}; for PostgreSQL type "
                    f"postgresql+psycopg://user@host/name and pip install 'weigh[postgres]'"
                ) from None
        try:
            Path(self.where).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerError(
                f"the folder of {self.where} cannot be made: {error.strerror}; name another with --ledger"
            ) from None
        engine = create_engine(f"sqlite:///{self.where}", connect_args={"timeout": 60})

        @event.listens_for(engine, "connect")
        def _settings(connection: Any, _: Any) -> None:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

        return engine

    def _migrate(self) -> None:
        from sqlalchemy import text

        with self._engine.connect() as connection:
            if self._engine.dialect.name == "sqlite":
                connection.execute(text("BEGIN IMMEDIATE")) if self._version(connection) < len(MIGRATIONS) else None
            else:
                connection.execute(text("SELECT pg_advisory_xact_lock(20130101)"))
            connection.execute(text("CREATE TABLE IF NOT EXISTS weigh_schema (version INTEGER NOT NULL)"))
            version = self._version(connection)
            if version > len(MIGRATIONS):
                raise LedgerError(
                    f"the ledger {self.where} has schema {version}, this weigh knows {len(MIGRATIONS)}: "
                    "pip install -U weigh, or name another with --ledger"
                )
            for step in MIGRATIONS[version:]:
                step(connection)
            if version < len(MIGRATIONS):
                connection.execute(text("DELETE FROM weigh_schema"))
                connection.execute(text("INSERT INTO weigh_schema VALUES (:v)"), {"v": len(MIGRATIONS)})
            connection.commit()

    @staticmethod
    def _version(connection: Connection) -> int:
        from sqlalchemy import inspect, text

        if "weigh_schema" not in inspect(connection).get_table_names():
            return 0
        return int(connection.execute(text("SELECT COALESCE(MAX(version), 0) FROM weigh_schema")).scalar_one())

    def _insert(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        from sqlalchemy import text

        if not rows:
            return
        names = list(rows[0])
        values = ", ".join(f":{name}" for name in names)
        statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values}) ON CONFLICT DO NOTHING"
        with self._guard(), self._engine.begin() as connection:
            connection.execute(text(statement), list(rows))

    def _rows(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        from sqlalchemy import text

        with self._guard(), self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Turn the database's own errors into ones that say what to do."""
        from sqlalchemy.exc import DBAPIError

        try:
            yield
        except DBAPIError as error:
            raise LedgerError(self._explain(str(error.orig))) from None

    def _explain(self, text: str) -> str:
        hints = {
            "readonly": "it is read-only: name a ledger that you may write with --ledger",
            "unable to open": "it cannot be opened: see that its folder may be written, or name another with --ledger",
            "full": "the disk is full: free some room and type the same command again; nothing measured so far is lost",
            "disk i/o": "the disk cannot be written (is it full?): free some room and type the same command again",
            "not a database": "it is not a ledger: move the file away, or name another with --ledger",
            "malformed": "it is damaged: restore it from a copy, or move it away and start a new one",
        }
        for sign, hint in hints.items():
            if sign in text.lower():
                return f"the ledger {self.where}: {hint} ({text})"
        return f"the ledger {self.where}: {text}"


def _full(digest: str) -> str:
    return digest if digest.startswith("sha256:") else f"sha256:{digest}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
