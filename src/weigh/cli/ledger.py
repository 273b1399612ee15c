"""Export the ledger: locks, evidence, decisions and records as JSON lines."""

from __future__ import annotations

from typing import TextIO

import click

from weigh.cli._flags import existing, ledger_flag


@click.group("ledger", short_help=__doc__)
def command() -> None:
    """What the ledger keeps: locks, evidence, decisions and where their records are."""


@command.command("export")
@click.option("-o", "--output", type=click.File("w", encoding="utf-8", atomic=True), default="-", help="A file.")
@ledger_flag
def export(output: TextIO, ledger: str) -> None:
    """Print everything in the ledger, one JSON object a row."""
    import json

    with existing(ledger) as book:
        for row in book.export():
            output.write(json.dumps(row, ensure_ascii=False) + "\n")
