"""List the decisions that were taken, or show one of them."""

from __future__ import annotations

from pathlib import Path

import click

from weigh.cli._flags import existing, json_flag, ledger_flag, print_json, short, taken


@click.command("show", short_help=__doc__)
@click.argument("id", required=False)
@ledger_flag
@json_flag
def command(id: str | None, ledger: str, as_json: bool) -> None:
    """List the decisions in the ledger, the latest first; or show the decision ID (the start of it, or `last`)."""
    from weigh import show

    with existing(ledger) as book:
        if id is None:
            _list(book.decisions(), ledger, as_json)
            return
        lock, made = taken(book, id)
        record, exhibits = book.record(lock.digest()), book.exhibits(lock.digest())
    from weigh.commands import folder
    from weigh.ledger import public
    from weigh.record import command as again

    line = again(lock, public(ledger), str(Path(record).parent) if record else None)
    if as_json:
        from weigh.cli._answer import answer

        click.echo(answer(made, ledger, record, line).model_dump_json(indent=2))
        return
    footing = show.Footing(short(lock.digest()), record, public(ledger), line, folder(lock))
    show.decision(show.console(), lock, made, footing, exhibits)


def _list(kept: list[dict[str, str]], ledger: str, as_json: bool) -> None:
    from weigh import show

    if as_json:
        print_json(kept)
    elif not kept:
        from weigh.commands import typed

        line = typed("decide", "CHOICE", "--toy", ledger=ledger)
        click.echo(f"no decision is in {ledger} yet; `{line}` takes one on a small task")
    else:
        rows = [(short(row["lock"]), _when(row["at"]), row["choice"], row["answer"]) for row in kept]
        show.put(show.console(), show.table(["id", "when (UTC)", "choice", "answer"], rows))


def _when(at: str) -> str:
    return at[:16].replace("T", " ")
