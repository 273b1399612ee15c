"""Export the ledger as JSON lines, or import them: locks, evidence, decisions and records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from weigh.cli._flags import existing, ledger_flag, short

if TYPE_CHECKING:
    from weigh.ledger import Ledger


@click.group("ledger", short_help=__doc__)
def command() -> None:
    """What the ledger keeps: locks, evidence, decisions and where their records are."""


@command.command("export")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False), metavar="FILE", help="A file, written whole or not at all."
)
@ledger_flag
def export(output: str | None, ledger: str) -> None:
    """Print everything in the ledger, one JSON object a row."""
    import os
    import sys

    from weigh.data.cache import replacing

    with existing(ledger) as book:
        if output in (None, "-"):
            _write(book, sys.stdout)
            return
        with replacing(Path(str(output))) as temporary, temporary.open("w", encoding="utf-8") as stream:
            _write(book, stream)
            stream.flush()
            os.fsync(stream.fileno())


@command.command("import", short_help="Add to the ledger what an export printed.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@ledger_flag
def import_(file: str, ledger: str) -> int:
    """Add to the ledger what `weigh ledger export` printed into FILE; what is there already stays as it is."""
    from weigh.ledger import Ledger, public

    with Ledger(ledger) as book:
        loaded = book.load(_rows(file))
    click.echo(f"{loaded.rows:,} rows of {file} are in {public(ledger)}")
    if loaded.left:
        names = ", ".join(map(short, loaded.left))
        click.echo(
            f"weigh: what {file} holds of {names} was left out: {public(ledger)} has another measurement of the same "
            "question; import it into a ledger of its own with --ledger other.db",
            err=True,
        )
    return 2 if loaded.left else 0


def _rows(file: str) -> Iterator[dict[str, Any]]:
    import json

    from weigh.choice import UsageError

    with Path(file).open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                yield dict(json.loads(line.decode("utf-8")))
            except (ValueError, TypeError, RecursionError):
                raise UsageError(
                    f"line {number} of {file} is no row of a ledger: give what `weigh ledger export` printed"
                ) from None


def _write(book: Ledger, stream: TextIO) -> None:
    import json

    for row in book.export():
        stream.write(json.dumps(row, ensure_ascii=False) + "\n")
