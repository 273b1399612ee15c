"""Write a decision as one HTML page that holds everything it shows."""

from __future__ import annotations

import click

from weigh.cli._flags import existing, json_flag, ledger_flag, print_json, short, taken


@click.command("report", short_help=__doc__)
@click.argument("id")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False), help="The file; named after the decision if not given."
)
@click.option("--open", "open_it", is_flag=True, help="Show it in the browser.")
@ledger_flag
@json_flag
def command(id: str, output: str | None, open_it: bool, ledger: str, as_json: bool) -> None:
    """Write the decision ID (the start of it, or `last`) as one HTML page."""
    from pathlib import Path

    from weigh.report import decision_page, write_page

    with existing(ledger) as book:
        lock, made = taken(book, id)
        page = decision_page(book, lock.digest())
    path = Path(output or f"{lock.choice.replace('/', '-').replace(':', '-')}-{short(lock.digest())}.html")
    write_page(page, path)
    if as_json:
        size = len(page.encode())
        print_json({"id": short(made.lock), "answer": made.answer, "page": str(path), "bytes": size})
    else:
        click.echo(f"{path} ({len(page.encode()) / 1e6:.1f} MB)")
    if open_it:
        click.launch(path.resolve().as_uri())
