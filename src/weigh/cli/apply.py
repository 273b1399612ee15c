"""Write the model that a decision chose, with a card that quotes the decision."""

from __future__ import annotations

import click

from weigh.cli._flags import existing, json_flag, ledger_flag, print_json, short, taken


@click.command("apply", short_help=__doc__)
@click.argument("id")
@click.option("--to", required=True, metavar="PATH", help="The file to write (.onnx, .pt2, .gguf), or a folder.")
@click.option(
    "--as", "form", type=click.Choice(["safetensors", "onnx", "gguf"]), help="Another form; with a certificate."
)
@click.option("--register", default="", metavar="NAME", help="Register it in MLflow under this name, as challenger.")
@click.option("--overwrite", is_flag=True, help="Replace other files of those names, or a folder that weigh wrote.")
@ledger_flag
@json_flag
def command(id: str, to: str, form: str | None, register: str, overwrite: bool, ledger: str, as_json: bool) -> None:
    """Write the model that the decision ID (the start of it, or `last`) chose: what was measured, byte by byte.

    A model card goes with it, which quotes the decision: why it was chosen, what was rejected, what it rests on. With
    --as it is written in another form, and a parity certificate says what that changed; nothing is written where its
    answers are not those of what was measured.

    \b
    Examples:
      weigh apply last --to served/
      weigh apply last --to served/ --as onnx
      weigh apply last --to served.gguf --as gguf
      weigh apply last --to served/ --register flights
    """
    from weigh.apply import apply

    with existing(ledger) as book:
        lock, made = taken(book, id)
        record, exhibits = book.record(made.lock), book.exhibits(made.lock)
    applied = apply(
        lock, made, to, form=form or "", register=register, record=record, overwrite=overwrite, exhibits=exhibits
    )
    if as_json:
        told: dict[str, object] = {"certificate": str(applied.certificate)} if applied.certificate else {}
        told |= {"id": short(made.lock), "chosen": made.chosen, "model": str(applied.model), "card": str(applied.card)}
        print_json(told | ({"registered": applied.registered} if applied.registered else {}))
        return
    click.echo(f"{made.chosen}: {applied.model}, with its card {applied.card}")
    if applied.certificate:
        click.echo(f"it answers as what was measured: {applied.certificate}")
    if applied.registered:
        click.echo(f"registered as {applied.registered} (alias challenger)")
