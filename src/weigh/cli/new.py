"""Write a file that starts an option of your own."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

import click


@click.command("new", short_help=__doc__)
@click.argument("choice")
@click.argument("option")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Where to write it; here if not given.",
)
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def command(choice: str, option: str, folder: Path, force: bool) -> None:
    """Write OPTION.py, which answers CHOICE: the methods to fill in, an example of a setting, and what it needs."""
    from weigh import catalog
    from weigh.choice import UsageError
    from weigh.cli._template import render

    made = catalog.choice(choice)
    _check_name(option)
    if option in catalog.options(made):
        raise UsageError(f"{made.name} has an option '{option}' already; name yours otherwise, such as my_{option}")
    path = folder / f"{option}.py"
    if path.exists() and not force:
        raise UsageError(f"{path} is there already; name another option, or type --force to write over it")
    _write(path, render(made, option))
    shown = path if path.is_absolute() else f"./{path}"
    click.echo(
        f"wrote {path}: fill in {', '.join(sorted(made.option.__abstractmethods__))}. Then:\n"
        f"  weigh options {choice} --option {shown}\n"
        f"  python -c \"from weigh.checks import check_option; print(check_option('{choice}', '{shown}'))\"\n"
        f"  weigh decide {choice} --toy --option {shown}"
    )


def _write(path: Path, text: str) -> None:
    from weigh.choice import UsageError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written in {Path.cwd()}: {error.strerror}; type --folder with one that you may write to"
        ) from None


def _check_name(option: str) -> None:
    from weigh.choice import UsageError

    if not re.fullmatch(r"[a-z][a-z0-9_]*", option) or keyword.iskeyword(option):
        tidy = re.sub(r"[^a-z0-9]+", "_", option.lower()).strip("_") or "mine"
        tidy = tidy if tidy[0].isalpha() and not keyword.iskeyword(tidy) else f"my_{tidy}"
        raise UsageError(f"'{option}' cannot name an option (letters, digits and _); type '{tidy}'")
