"""The tables of the ledger, and how each version becomes the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from weigh.choice import content_digest

if TYPE_CHECKING:
    from sqlalchemy import Connection

TABLES = {
    "weigh_lock": ("digest", "body", "at"),
    "weigh_evidence": ("lock", "block", "option", "digest", "body"),
    "weigh_decision": ("lock", "digest", "body", "exhibits", "at"),
    "weigh_record": ("lock", "path", "digest", "at"),
}
"""Every table with its columns, its key first; each has a column ``seal`` beside them, the digest of the row."""

SCHEMA = "weigh_schema"


def seal(row: Mapping[str, Any]) -> str:
    """The digest of a row: whoever changes any column of it breaks the seal."""
    return content_digest(dict(row))


def _first(connection: Connection) -> None:
    _run(
        connection,
        "CREATE TABLE weigh_lock (digest TEXT PRIMARY KEY, body TEXT NOT NULL, at TEXT NOT NULL)",
        "CREATE TABLE weigh_evidence (lock TEXT NOT NULL, block INTEGER NOT NULL, option TEXT NOT NULL, "
        "digest TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (lock, block, option))",
        "CREATE TABLE weigh_decision (lock TEXT PRIMARY KEY, digest TEXT NOT NULL, body TEXT NOT NULL, "
        "exhibits TEXT NOT NULL, record TEXT NOT NULL, record_digest TEXT NOT NULL, at TEXT NOT NULL)",
    )


def _second(connection: Connection) -> None:
    """A seal on every row; records in a table of their own, as a decision may be recorded later, and in many places."""
    _run(
        connection,
        "CREATE TABLE weigh_record (lock TEXT NOT NULL, path TEXT NOT NULL, digest TEXT NOT NULL, at TEXT NOT NULL, "
        "PRIMARY KEY (lock, path))",
        "INSERT INTO weigh_record SELECT lock, record, record_digest, at FROM weigh_decision WHERE record <> ''",
        "ALTER TABLE weigh_decision RENAME TO weigh_decision_1",
        "CREATE TABLE weigh_decision (lock TEXT NOT NULL PRIMARY KEY, digest TEXT NOT NULL, body TEXT NOT NULL, "
        "exhibits TEXT NOT NULL, at TEXT NOT NULL)",
        "INSERT INTO weigh_decision SELECT lock, digest, body, exhibits, at FROM weigh_decision_1",
        "DROP TABLE weigh_decision_1",
    )
    for table, keys, others in (
        ("weigh_lock", ("digest",), ("body", "at")),
        ("weigh_evidence", ("lock", "block", "option"), ("digest", "body")),
        ("weigh_decision", ("lock",), ("digest", "body", "exhibits", "at")),
        ("weigh_record", ("lock", "path"), ("digest", "at")),
    ):
        _run(connection, f"ALTER TABLE {table} ADD COLUMN seal TEXT NOT NULL DEFAULT ''")
        _seal_all(connection, table, keys, others)


def _seal_all(connection: Connection, table: str, keys: tuple[str, ...], others: tuple[str, ...]) -> None:
    from sqlalchemy import text

    rows = connection.execute(text(f"SELECT {', '.join(keys + others)} FROM {table}")).mappings().all()
    where = " AND ".join(f"{name} = :{name}" for name in keys)
    if rows:
        sealed = [{**{name: row[name] for name in keys}, "seal": seal(dict(row))} for row in rows]
        connection.execute(text(f"UPDATE {table} SET seal = :seal WHERE {where}"), sealed)


def _run(connection: Connection, *statements: str) -> None:
    from sqlalchemy import text

    for statement in statements:
        connection.execute(text(statement))


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (_first, _second)
"""Each takes the schema from its position to the next; append, never edit."""
