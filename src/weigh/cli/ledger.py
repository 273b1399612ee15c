"""Export the ledger: locks, evidence, decisions and records as JSON lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from weigh.cli._flags import existing, ledger_flag

if TYPE_CHECKING:
    from weigh.ledger import Ledger


@click.group("ledger", short_help=__doc__)
def command() -> None:
    """What the ledger keeps: locks, evidence, decisions and where their records are."""


@command.command("export")
@click.option("-o", "--output", metavar="FILE", help="A file, written whole or not at all.")
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


def _write(book: Ledger, stream: TextIO) -> None:
    import json

    for row in book.export():
        stream.write(json.dumps(row, ensure_ascii=False) + "\n")
