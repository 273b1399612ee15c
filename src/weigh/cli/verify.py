"""Judge the evidence behind a record again, and say whether it gives the same verdict."""

from __future__ import annotations

import click

from weigh.cli._flags import json_flag, ledger_flag, print_json


@click.command("verify", short_help=__doc__)
@click.argument("records", type=click.Path(dir_okay=False), nargs=-1, required=True, metavar="RECORD...")
@ledger_flag
@json_flag
def command(records: tuple[str, ...], ledger: str, as_json: bool) -> int:
    """Judge the evidence behind each RECORD again.

    Exit status: 0 the same verdict; 3 a record or its evidence was edited; 4 evidence is missing.
    """
    from weigh.verify import verify

    found = {record: verify(record, ledger) for record in records}
    if as_json:
        each = [{"record": record, "code": one.code, "text": one.text} for record, one in found.items()]
        print_json(each[0] if len(each) == 1 else each)
    else:
        for record, one in found.items():
            click.echo(f"{record}: {one.text}" if len(found) > 1 else one.text)
    codes = {one.code for one in found.values()}
    return 3 if 3 in codes else max(codes)
