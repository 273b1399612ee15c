"""The database under the ledger: how it is opened and brought up to date, and what to do where it cannot be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.migrations import MIGRATIONS, SCHEMA, TABLES

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_HINTS = {
    "readonly": "it is read-only: name a ledger that you may write with --ledger",
    "read-only": "it is read-only: name a ledger that you may write with --ledger",
    "unable to open": "it cannot be opened: see that its folder may be written, or name another with --ledger",
    "full": "the disk is full: free some room and type the same command again; nothing measured so far is lost",
    "disk i/o": "the disk cannot be written (is it full?): free some room and type the same command again",
    "locked": "another program holds it: type the same command again when that is done",
    "not a database": "it is not a ledger: move the file away, or name another with --ledger",
    **dict.fromkeys(
        ("malformed", "no such ", "already exists", 'relation "weigh_', "duplicate column", "not decode"),
        "it is damaged: restore it from a copy, or move it away and start a new one",
    ),
}


class LedgerError(Exception):
    """The ledger cannot be read or written; the message says why and what to do."""


def public(where: str | Path) -> str:
    """A ledger's name as it may be shown: without a password.

    >>> public("postgresql+psycopg://me:secret@host/weigh")
    'postgresql+psycopg://me:***@host/weigh'
    >>> public("out/ledger.db")
    'out/ledger.db'
    """
    text = str(where)
    if "://" not in text:
        return text
    return re.sub(r"([?&]password=)[^&]*", r"\1***", re.sub(r"(://[^:/@]*:)[^@]+@", r"\1***@", text))


class Database:
    """Tables of the ledger in SQLite or PostgreSQL, at the version that this weigh knows.

    Args:
        where: a file (SQLite), or a URL.
        readonly: nothing is written: no file, no folder, no table; works on media that cannot be written.

    Raises:
        LedgerError: it cannot be opened, is damaged, is another program's, or was written by a newer weigh.
    """

    def __init__(self, where: str | Path, readonly: bool = False) -> None:
        self.where, self.readonly = public(where), readonly
        self._engine = self._connect(str(where))
        try:
            with self._guard():
                self._old(str(where)) if readonly else self._migrate()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of connections."""
        self._engine.dispose()

    def insert(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows in one transaction; a row whose key is there already stays as it is."""
        from sqlalchemy import text

        if not rows:
            return
        names = list(rows[0])
        values = ", ".join(f":{name}" for name in names)
        statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values}) ON CONFLICT DO NOTHING"
        with self._guard(), self._engine.begin() as connection:
            connection.execute(text(statement), list(rows))

    def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """What a query gives, each row by the names of its columns."""
        from sqlalchemy import text

        with self._guard(), self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(text(query), values).mappings()]

    # opening

    def _connect(self, where: str) -> Engine:
        from sqlalchemy import create_engine, make_url
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError

        if "://" not in where:
            return self._file(where)
        try:
            url = make_url(where)
            if url.get_backend_name() == "sqlite":
                return self._file(url.database or "")
            return create_engine(url, pool_pre_ping=True, execution_options={"postgresql_readonly": self.readonly})
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            raise LedgerError(
                f"the ledger {self.where} cannot be opened: {public(str(error))}; for PostgreSQL type "
                f"postgresql+psycopg://user@host/name and pip install 'weigh[postgres]'"
            ) from None

    def _file(self, name: str) -> Engine:
        path = Path(name).absolute()
        if not name.strip() or name == ":memory:":
            raise LedgerError(
                "a ledger without a file would be lost with the run: name a file such as --ledger ledger.db"
            )
        if path.is_dir():
            raise LedgerError(
                f"the ledger {name} is a folder: name a file, such as --ledger {Path(name) / 'ledger.db'}"
            )
        if self.readonly:
            return self._reading(path)
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise LedgerError(
                f"the folder of {name} cannot be made: {error.strerror}; make {path.parent} yourself, or name another "
                "with --ledger"
            ) from None
        return _sqlite(path, "mode=rwc", "journal_mode=WAL", "synchronous=NORMAL")

    def _reading(self, path: Path) -> Engine:
        """The file, opened to be read; as one that never changes where SQLite cannot keep its notes beside it."""
        from sqlalchemy import text
        from sqlalchemy.exc import DBAPIError

        if not path.is_file():
            raise LedgerError(f"there is no ledger at {self.where}: name another with --ledger")
        engine = _sqlite(path, "mode=rw", "query_only=ON")
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT count(*) FROM sqlite_master"))
        except DBAPIError as error:
            log = path.with_name(path.name + "-wal")
            fixed = any(sign in str(error.orig) for sign in ("unable to open", "readonly"))
            if not fixed or (log.exists() and log.stat().st_size):
                raise LedgerError(self._explain(str(error.orig))) from None
            return _sqlite(path, "mode=ro&immutable=1")
        return engine

    # versions

    def _old(self, where: str) -> None:
        """A ledger of an earlier version, opened to be read, is brought up to date first."""
        with self._engine.connect() as connection:
            version = self._version(connection)
        if not version:
            raise LedgerError(f"the ledger {self.where} holds nothing yet: `weigh decide` fills one")
        if version < len(MIGRATIONS):
            Database(where).close()

    def _migrate(self) -> None:
        from sqlalchemy import text

        with self._engine.connect() as connection:
            if self._engine.dialect.name == "sqlite":
                if self._version(connection) == len(MIGRATIONS):
                    return
                connection.execute(text("BEGIN IMMEDIATE"))
            else:
                connection.execute(text("SELECT pg_advisory_xact_lock(20130101)"))
            version = self._version(connection)
            if not version:
                connection.execute(text(f"CREATE TABLE {SCHEMA} (version INTEGER NOT NULL)"))
            for step in MIGRATIONS[version:]:
                step(connection)
            if version < len(MIGRATIONS):
                connection.execute(text(f"DELETE FROM {SCHEMA}"))
                connection.execute(text(f"INSERT INTO {SCHEMA} VALUES (:v)"), {"v": len(MIGRATIONS)})
            connection.commit()

    def _version(self, connection: Connection) -> int:
        """The version of the tables; 0 where there are none."""
        from sqlalchemy import inspect, text

        tables = set(inspect(connection).get_table_names())
        if SCHEMA not in tables:
            if ours := sorted(tables & set(TABLES)):
                raise LedgerError(
                    f"the ledger {self.where} is damaged or not a ledger of weigh: it has {', '.join(ours)} and no "
                    f"{SCHEMA}; restore it from a copy, or name another with --ledger"
                )
            if tables and connection.dialect.name == "sqlite":
                raise LedgerError(
                    f"{self.where} is not a ledger of weigh: it is another program's database, with "
                    f"{', '.join(sorted(tables)[:3])}; name another with --ledger"
                )
            return 0
        rows = connection.execute(text(f"SELECT version FROM {SCHEMA}")).all()
        if len(rows) != 1 or type(rows[0][0]) is not int or rows[0][0] < 1:
            raise LedgerError(
                f"the ledger {self.where} is damaged: its version reads {[row[0] for row in rows]!r:.60}; "
                "restore it from a copy, or move it away and start a new one"
            )
        if rows[0][0] > len(MIGRATIONS):
            raise LedgerError(
                f"the ledger {self.where} has schema {rows[0][0]}, this weigh knows {len(MIGRATIONS)}: "
                "pip install -U weigh, or name another with --ledger"
            )
        return int(rows[0][0])

    # what goes wrong

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Turn the database's own errors into ones that say what to do."""
        from sqlalchemy.exc import DBAPIError

        try:
            yield
        except DBAPIError as error:
            raise LedgerError(self._explain(str(error.orig))) from None

    def _explain(self, text: str) -> str:
        for sign, hint in _HINTS.items():
            if sign in text.lower():
                return f"the ledger {self.where}: {hint} ({text})"
        return f"the ledger {self.where}: {text}"


def _sqlite(path: Path, mode: str, *pragmas: str) -> Engine:
    """The file of that very name: no part of the name is read as a query."""
    from sqlalchemy import URL, create_engine, event

    query = {**dict(part.split("=") for part in mode.split("&")), "uri": "true"}
    engine = create_engine(URL.create("sqlite", database=path.as_uri(), query=query), connect_args={"timeout": 60})

    @event.listens_for(engine, "connect")
    def _settings(connection: Any, _: Any) -> None:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    return engine
