"""Flags that several verbs share, and the ledger that they open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from weigh.decision import Decision, Lock
    from weigh.ledger import Ledger

LEDGER = ".weigh/ledger.db"

ledger_flag = click.option(
    "--ledger", default=LEDGER, show_default=True, metavar="PATH|URL", help="File or database URL that keeps evidence."
)
json_flag = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


@contextmanager
def existing(where: str) -> Iterator[Ledger]:
    """A ledger that is only read: a missing file is a mistake, not a new ledger.

    Raises:
        UsageError: there is no such file.
    """
    from weigh.choice import UsageError
    from weigh.ledger import Ledger

    if "://" not in where and not Path(where).is_file():
        raise UsageError(
            f"there is no ledger at {where}: `weigh decide` makes one; name another with --ledger, or go to its folder"
        )
    with Ledger(where, readonly=True) as book:
        yield book


def taken(book: Ledger, start: str) -> tuple[Lock, Decision]:
    """The decision whose id starts so (``last``: the latest one), with its lock.

    Raises:
        UsageError: no decision, or more than one, is called so.
    """
    from weigh.choice import UsageError, unknown

    ids = [row["lock"] for row in book.decisions()]
    if start == "last" and ids:
        found = ids[:1]
    else:
        found = [lock for lock in ids if lock.removeprefix("sha256:").startswith(start.removeprefix("sha256:"))]
    if len(found) > 1:
        raise UsageError(
            f"{len(found)} decisions start with '{start}': {', '.join(map(short, found))}; type more of it"
        )
    decision = book.decision(found[0]) if found else None
    if decision is None:
        names = [short(lock) for lock in ids]
        raise UsageError(unknown("decision", start, names, f"in {book.where}") + "; `weigh show` lists them")
    return book.lock(found[0]), decision


def short(lock: str) -> str:
    """A decision's id as people type it."""
    return lock.removeprefix("sha256:")[:8]
