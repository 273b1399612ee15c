"""List the choices: the questions that weigh can decide."""

from __future__ import annotations

import click

from weigh.cli._flags import json_flag, print_json


@click.command("choices", short_help=__doc__)
@json_flag
def command(as_json: bool) -> None:
    """List the choices: each question, how many options answer it, and what is measured of them."""
    from weigh import catalog

    known = sorted(catalog.choices().items())
    if as_json:
        print_json(
            [
                {
                    "choice": name,
                    "question": made.question,
                    "options": list(catalog.options(made)),
                    "measures": [measure.model_dump() for measure in made.measures],
                    "require": list(made.require),
                }
                for name, made in known
            ]
        )
        return
    from weigh import show

    rows = [
        (
            name,
            made.question,
            f"{len(catalog.options(made))}",
            ", ".join(measure.name for measure in made.measures),
        )
        for name, made in known
    ]
    console = show.console()
    show.put(console, show.table(["choice", "question", "options", "measures"], rows))
    if known:
        console.print(f"\nMore of one: weigh options {known[0][0]}. Try it: weigh decide {known[0][0]} --toy")
