"""Write the model that a decision chose, with a card that quotes the decision."""

from __future__ import annotations

import click

from weigh.cli._flags import existing, json_flag, ledger_flag, print_json, short, taken


@click.command("apply", short_help=__doc__)
@click.argument("id")
@click.option("--to", required=True, metavar="PATH", help="The file to write (.onnx, .pt2), or the folder of a model.")
@click.option("--register", default="", metavar="NAME", help="Register it in MLflow under this name, as challenger.")
@click.option("--overwrite", is_flag=True, help="Replace other files of those names.")
@ledger_flag
@json_flag
def command(id: str, to: str, register: str, overwrite: bool, ledger: str, as_json: bool) -> None:
    """Write the model that the decision ID (the start of it, or `last`) chose: what was measured, byte by byte.

    A model card goes with it, which quotes the decision: why it was chosen, what was rejected, what it rests on.
    """
    from weigh.apply import apply

    with existing(ledger) as book:
        lock, made = taken(book, id)
        record = book.record(made.lock)
    applied = apply(lock, made, to, register=register, record=record, overwrite=overwrite)
    if as_json:
        told = {"id": short(made.lock), "chosen": made.chosen, "model": str(applied.model), "card": str(applied.card)}
        print_json(told | ({"registered": applied.registered} if applied.registered else {}))
        return
    click.echo(f"{made.chosen}: {applied.model}, with its card {applied.card}")
    if applied.registered:
        click.echo(f"registered as {applied.registered} (alias challenger)")
