"""Judge the evidence behind a record again, or measure again what it rests on, and say whether the verdict holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from weigh.cli._flags import json_flag, ledger_flag, print_json, short

if TYPE_CHECKING:
    from weigh.remeasure import Remeasured
    from weigh.verify import Verification

EPILOG = """
\b
Examples:
  weigh verify decisions/*.md
  weigh verify --remeasure decisions/3f2a9c0d11aa-monitor-drift.md
  weigh verify --remeasure record.md --ledger copy.db --task history=/data/winter.parquet

Exit status: 0 the same verdict, or it holds; 3 a record or its evidence was edited; 4 evidence is missing; with
--remeasure also 7 contradicted and 5 not settled; 2 what was asked cannot work. Of several records the worst one's:
3, 4, 7, 2, 5, 0; one that cannot be checked does not keep the others from it.

On another machine --remeasure needs the record, its ledger (a copy of the file, the database's URL, or what `weigh
ledger export` gave, read by `weigh ledger import`), the files that the task names and those of options from outside.
The same command goes on where it stopped on that day; --seed goes on with that of another day.
"""
_WORST = (3, 4, 7, 2, 5, 0)
_T = TypeVar("_T")


class _Refused(NamedTuple):
    """Why one of several records could not be checked."""

    text: str
    code: int = 2

    def model_dump(self, mode: str) -> dict[str, Any]:
        return {"code": self.code, "text": self.text}


@click.command("verify", short_help=__doc__, epilog=EPILOG)
@click.argument("records", type=click.Path(dir_okay=False), nargs=-1, required=True, metavar="RECORD...")
@click.option(
    "--remeasure", is_flag=True, help="Measure again, on new blocks, what the verdict rests on; say whether it holds."
)
@click.option("--seed", type=click.IntRange(0), help="Of the new blocks; drawn from record and day if not given.")
@click.option("--task", multiple=True, metavar="FIELD=PATH", help="Where a file of the task lies here; again for more.")
@click.option("--option", multiple=True, metavar="FILE", help="Where the file of an option lies here; again for more.")
@click.option(
    "--budget",
    metavar="N|N%|TIME",
    help="Stop after so many new blocks (200), a share of all new measurements (10%) or so much measuring (90s, 5m).",
)
@ledger_flag
@json_flag
@click.option("--quiet", is_flag=True, help="No progress.")
def command(
    records: tuple[str, ...],
    remeasure: bool,
    seed: int | None,
    task: tuple[str, ...],
    option: tuple[str, ...],
    budget: str | None,
    ledger: str,
    as_json: bool,
    quiet: bool,
) -> int:
    """Judge the evidence behind each RECORD again; with --remeasure, measure again whether its verdict holds.

    A record that was edited is refused, and then nothing is measured.
    """
    if not remeasure:
        _only_with_remeasure(seed=seed, task=task, option=option, budget=budget)
        return _verify(records, ledger, as_json)
    asked = {"seed": seed, "task": _moved(task), "options": option, "budget": budget or ""}
    found = _each(records, lambda record: _measure(record, ledger, quiet, asked))
    if as_json:
        each = [{"record": record, **one.model_dump(mode="json")} for record, one in found.items()]
        print_json(each[0] if len(each) == 1 else each)
    else:
        for record, one in found.items():
            if isinstance(one, _Refused):
                click.echo(f"weigh: {one.text}", err=True)
            else:
                _show(one, ledger, f"{record}: " if len(found) > 1 else "")
    return min((one.code for one in found.values()), key=_WORST.index)


def _each(records: tuple[str, ...], check: Callable[[str], _T]) -> dict[str, _T | _Refused]:
    """What is found of each record; where there are several, one that cannot be checked leaves the others."""
    from weigh.choice import Halted, UsageError
    from weigh.data.error import DataError

    found: dict[str, _T | _Refused] = {}
    for record in records:
        try:
            found[record] = check(record)
        except (UsageError, DataError) as error:
            if isinstance(error, Halted) or len(records) == 1:
                raise
            found[record] = _Refused(str(error))
    return found


def _verify(records: tuple[str, ...], ledger: str, as_json: bool) -> int:
    from weigh.verify import verify

    found: dict[str, Verification | _Refused] = _each(records, lambda record: verify(record, ledger))
    if as_json:
        each = [{"record": record, "code": one.code, "text": one.text} for record, one in found.items()]
        print_json(each[0] if len(each) == 1 else each)
    else:
        for record, one in found.items():
            click.echo(f"{record}: {one.text}" if len(found) > 1 else one.text)
    return min((one.code for one in found.values()), key=_WORST.index)


def _only_with_remeasure(**given: Any) -> None:
    from weigh.choice import UsageError

    for name, value in given.items():
        if value not in (None, ()):
            raise UsageError(f"--{name} says how to measure again: type --remeasure with it, or leave it out")


def _moved(words: tuple[str, ...]) -> dict[str, str]:
    from weigh.choice import UsageError

    pairs = [word.partition("=") for word in words]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise UsageError(f"--task {name}{equals}{value} names no file; type --task FIELD=PATH")
    return {name: value for name, _, value in pairs}


def _measure(record: str, ledger: str, quiet: bool, asked: dict[str, Any]) -> Remeasured:
    from weigh.progress import Watch
    from weigh.remeasure import remeasure

    try:
        with Watch(quiet) as watch:
            return remeasure(record, ledger, watch=watch, **asked)
    except KeyboardInterrupt:
        click.echo("\nweigh: interrupted; no finished block is lost: the same command goes on from here", err=True)
        raise click.Abort from None


def _show(one: Remeasured, ledger: str, before: str) -> None:
    """The answer first, then each claim as it was found then and now, and what goes with it."""
    from rich.text import Text

    from weigh import show
    from weigh.ledger import public

    console = show.console()
    console.print(Text(before + one.text, "bold"), soft_wrap=not console.is_terminal)
    if one.holding is None:
        return
    words = {
        "again": "certified again",
        "tied": "not told apart, as before",
        "contradicted": "contradicted",
        "open": "open",
        "away": "not measured",
    }
    claims = []
    for found in one.holding.findings:
        beside = (words[found.found], found.figures, found.why)
        claims.append(f"{found.claim}: {'; '.join(part for part in beside if part)}.")
    measured = f"{show.count(one.holding.measurements, 'trial')} on {show.count(one.holding.blocks, 'new block')}"
    lines = [
        f"{one.verified[0].upper()}{one.verified[1:]}{'' if one.verified.endswith('.)') else '.'}",
        f"Measured again with seed {one.seed}: {measured}; kept in {public(ledger)} ({short(one.lock)}).",
        *(f"{note[0].upper()}{note[1:]}." for note in one.notes),
    ]
    show.sections(console, [("What the verdict rests on", claims), ("What was done", lines)])
