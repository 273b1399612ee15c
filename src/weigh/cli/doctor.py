"""Say which options can run here, and what to type for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from weigh.cli._flags import json_flag, ledger_flag, print_json

if TYPE_CHECKING:
    from weigh.choice import Choice


@click.command("doctor", short_help=__doc__)
@ledger_flag
@json_flag
def command(ledger: str, as_json: bool) -> int:
    """Say what this computer has, which options can run here, and what to type for the rest.

    Exit status: 0; 2 when the ledger cannot be opened.
    """
    from weigh import catalog

    here, error = machine(), ledger_error(ledger)
    found = {name: abilities(made) for name, made in sorted(catalog.choices().items())}
    if as_json:
        print_json({"machine": here, "ledger": {"where": ledger, "error": error}, "options": found})
    else:
        _show(here, ledger, error, found)
    return 2 if error else 0


def machine() -> dict[str, str]:
    """What this computer has."""
    import platform
    import shutil
    from importlib.metadata import version
    from pathlib import Path

    import psutil

    from weigh.evidence import Where

    memory = psutil.virtual_memory()
    return {
        "weigh": version("weigh"),
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "cores": str(Where.here().cores),
        "memory": f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free",
        "disk": f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB free here",
        "gpu": "NVIDIA driver found" if Path("/proc/driver/nvidia/version").exists() else "no NVIDIA driver",
    }


def ledger_error(where: str) -> str:
    """Why the ledger cannot be opened; empty when it can, or is a file that does not exist yet."""
    from pathlib import Path

    from weigh.ledger import Ledger, LedgerError

    if "://" not in where and not Path(where).exists():
        return ""
    try:
        with Ledger(where, readonly=True) as book:
            book.decisions()
    except LedgerError as error:
        return str(error)
    return ""


def abilities(made: Choice) -> dict[str, list[str]]:
    """Reasons by option why it cannot run here; an option that can run has none."""
    from weigh import catalog

    return {name: option.needs.missing() for name, option in catalog.options(made).items()}


def _show(here: dict[str, str], ledger: str, error: str, found: dict[str, dict[str, list[str]]]) -> None:
    from pathlib import Path

    from rich.text import Text

    from weigh import show

    console = show.console()
    facts: list[tuple[Any, ...]] = [(Text(name, "bold"), value) for name, value in here.items()]
    there = "can be read" if "://" in ledger or Path(ledger).exists() else "not there yet: `weigh decide` makes it"
    facts.append((Text("ledger", "bold"), Text(error, "red") if error else f"{ledger}: {there}"))
    show.put(console, show.grid(facts))
    console.print()
    rows = []
    for choice, options in found.items():
        for option, missing in options.items():
            state = Text("; ".join(missing), "red") if missing else Text("can run here", "green")
            rows.append((choice if option == next(iter(options)) else "", option, state))
    show.put(console, show.table(["choice", "option", "here"], rows))
    console.print()
    reasons = [reason for options in found.values() for missing in options.values() for reason in missing]
    if wanted := list(dict.fromkeys(reason.partition(": ")[2] for reason in reasons if ": pip install" in reason)):
        console.print("To run the rest, type:")
        for line in wanted:
            console.print(f"  {line}", soft_wrap=True)
    else:
        console.print("every option can run here" if not reasons else "what cannot run here says above what it needs")
