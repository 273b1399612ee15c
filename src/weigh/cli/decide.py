"""Race the options of a choice on your task, and decide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from weigh.cli._engine import engine_flags
from weigh.cli._flags import json_flag, ledger_flag, short

if TYPE_CHECKING:
    from weigh.cli._engine import Place
    from weigh.decision import Decision
    from weigh.flow import Question

EXITS = {"chosen": 0, "tie": 0, "undecided": 5, "none": 6}
EPILOG = """
\b
Examples:
  weigh decide monitor/drift --toy
  weigh decide monitor/drift --toy --option ks --option psi:threshold=0.2
  weigh decide monitor/drift --toy --print yaml > run.yaml
  weigh decide run.yaml --alpha 0.01

Exit status: 0 chosen or tie; 5 undecided; 6 no option is left; 2 what was asked cannot work; 130 interrupted.
The same command again goes on where it stopped, or prints the decision that it reached.
"""


@click.command("decide", short_help=__doc__, epilog=EPILOG)
@click.argument("choice", metavar="CHOICE|RUN.yaml")
@click.argument("fields", nargs=-1, metavar="[FIELD=VALUE]...")
@click.option("--task", "task_file", metavar="FILE", help="YAML file with fields of the task.")
@click.option("--toy", is_flag=True, help="Take the choice's small toy task for what is not given.")
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="SPEC",
    help="Race this one: name, name:setting=value,... or ./mine.py; again for more. All options if not given.",
)
@click.option(
    "--require",
    multiple=True,
    metavar="TEXT",
    help="A constraint such as 'accuracy >= baseline - 0.01'; again for more; 'none' for none. The choice's "
    "own if not given.",
)
@click.option("--objective", metavar="MEASURE", help="What to optimise; the choice's first measure if not given.")
@click.option(
    "--epsilon",
    type=float,
    help="Differences in the objective up to this do not matter; of times and quantiles a share (0.05 is 5%). "
    "The measure's own tolerance if not given.",
)
@click.option("--alpha", type=float, help="Probability of a wrong verdict, at most.  [default: 0.05]")
@click.option("--seed", type=int, help="Of every random choice.  [default: 0]")
@click.option(
    "--budget",
    metavar="N|N%|TIME",
    help="Stop the race after so many blocks (200), a share of all measurements (10%) or so much measuring (90s, 5m); "
    "its winner is then measured on fresh blocks.",
)
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="NAME=VALUE,...",
    help="For one trial: seconds=60,memory_mb=4096; seconds also bounds its preparation, unless prepare_seconds does.",
)
@engine_flags
@ledger_flag
@click.option("--records", metavar="DIR", help="Folder of decision records.  [default: decisions]")
@click.option("--no-record", is_flag=True, help="Write no record.")
@json_flag
@click.option(
    "--print",
    "form",
    type=click.Choice(["yaml", "python", "shell"]),
    help="Print this run in another form; do not run it.",
)
@click.option("--trust", is_flag=True, help="Unpickle a model that is a pickle: it can run any code, so your own only.")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(
    choice: str,
    fields: tuple[str, ...],
    task_file: str | None,
    toy: bool,
    ledger: str,
    records: str | None,
    no_record: bool,
    as_json: bool,
    form: str | None,
    trust: bool,
    quiet: bool,
    engine: str | None,
    address: str | None,
    workers: int | None,
    **given: Any,
) -> int:
    """Race the options of CHOICE on a task, and decide.

    The task is given as FIELD=VALUE words (`weigh options CHOICE` lists the fields), in a file, or both.
    The first line printed is the answer and how sure it is; progress goes to standard error.
    """
    from weigh.cli import _engine, _forms, _question
    from weigh.ledger import public

    question, own, kept = _question.read(choice, fields, task_file, toy, given, trust)
    place = ledger if _is_typed("ledger") else kept.get("ledger") or ledger
    where = _engine.place({"engine": engine, "address": address, "workers": workers}, kept)
    usual = str(_question.TOYS / "decisions") if toy else "decisions"
    folder = None if no_record else records or kept.get("records", usual)
    if form:
        click.echo(_forms.write(form, question, public(place), folder, where).rstrip())
        return 0
    made = _run(question, place, folder, quiet, where)
    shown = "decisions" if folder == usual else folder
    again = _forms.as_shell(question, public(place), shown, where, own if toy else None)
    _show(made, place, again, toy, as_json)
    return EXITS[made.verdict]


def _is_typed(name: str) -> bool:
    """Whether a flag stands on the command line."""
    from click.core import ParameterSource

    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def _run(question: Question, ledger: str, records: str | None, quiet: bool, where: Place) -> Decision:
    import sys
    from contextlib import redirect_stdout

    from weigh.flow import decide
    from weigh.progress import Watch

    fields = {name: getattr(question, name) for name in ("objective", "epsilon", "alpha", "seed", "budget", "limits")}
    watch = Watch(quiet)
    try:
        with watch, redirect_stdout(sys.stderr):  # Ray tells of lost workers on standard output
            made = decide(
                question.choice, question.task, options=question.options, require=question.require,
                ledger=ledger, records=records, engine=where.made(), watch=watch, **fields,
            )  # fmt: skip
    except KeyboardInterrupt:
        click.echo(
            "\nweigh: interrupted; no finished block is lost: the same command again goes on from here", err=True
        )
        raise click.Abort from None
    if not watch.locked and not quiet:
        click.echo("this was decided before, and nothing has changed since: nothing is measured again", err=True)
    return made


def _show(made: Decision, ledger: str, again: str, toy: bool, as_json: bool) -> None:
    from weigh import show
    from weigh.cli._answer import answer
    from weigh.commands import folder
    from weigh.ledger import Ledger, public

    with Ledger(ledger) as book:
        lock = book.lock(made.lock)
        record, exhibits = book.record(made.lock), book.exhibits(made.lock)
    if as_json:
        click.echo(answer(made, ledger, record, again).model_dump_json(indent=2))
        return
    footing = show.Footing(short(made.lock), record, public(ledger), again, "" if toy else folder(lock))
    show.decision(show.console(), lock, made, footing, exhibits)
