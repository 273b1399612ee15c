"""Judge the evidence behind a record again, and say whether it gives the same verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from weigh.cli._flags import existing, json_flag, ledger_flag, print_json

if TYPE_CHECKING:
    from weigh.record import Verification


@click.command("verify", short_help=__doc__)
@click.argument("records", type=click.Path(dir_okay=False), nargs=-1, required=True, metavar="RECORD...")
@ledger_flag
@json_flag
def command(records: tuple[str, ...], ledger: str, as_json: bool) -> int:
    """Judge the evidence behind each RECORD again.

    Exit status: 0 the same verdict; 3 a record or its evidence was edited; 4 evidence is missing.
    """
    found = dict(zip(records, _verified(records, ledger), strict=True))
    if as_json:
        each = [{"record": record, "code": one.code, "text": one.text} for record, one in found.items()]
        print_json(each[0] if len(each) == 1 else each)
    else:
        for record, one in found.items():
            click.echo(f"{record}: {one.text}" if len(found) > 1 else one.text)
    codes = {one.code for one in found.values()}
    return 3 if 3 in codes else max(codes)


def _verified(records: Sequence[str], ledger: str) -> Iterator[Verification]:
    from weigh.record import Verification, verify

    if "://" not in ledger and not Path(ledger).is_file():
        text = f"evidence is missing: there is no ledger at {ledger}; name the one that holds it with --ledger"
        yield from (Verification(4, text) for _ in records)
        return
    with existing(ledger) as book:
        yield from [verify(record, book) for record in records]
