"""The command line: one file a verb, imported only when that verb is typed."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

VERBS = (
    "choices",
    "options",
    "decide",
    "show",
    "explain",
    "report",
    "apply",
    "serve",
    "rollout",
    "deploy",
    "verify",
    "parity",
    "doctor",
    "new",
    "ledger",
)
"""In the order of `weigh --help`; each is the file of that name, whose first line is its help."""

INTERRUPTED = 130


class Verbs(click.Group):
    """A group whose commands are files; listing them reads one line of each."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        import importlib

        command = importlib.import_module(f"weigh.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from weigh.choice import unknown

            raise click.UsageError(unknown("verb", args[0], VERBS), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, _first_line(verb)) for verb in VERBS])


def _first_line(verb: str) -> str:
    with (Path(__file__).parent / f"{verb}.py").open(encoding="utf-8") as file:
        return file.readline().strip().strip('"')


@click.command(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with `weigh choices`, then `weigh decide CHOICE --toy`. WEIGH_DEBUG=1 shows tracebacks.",
)
@click.version_option(package_name="weigh", message="weigh %(version)s")
def weigh() -> None:
    """Put a machine-learning design choice on a scale.

    The options of a choice are measured side by side on your own model and data, and one is chosen
    at a stated error rate, under your constraints.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; its exit status.

    0 done; 1 an error that weigh did not expect; 2 what was asked cannot work; 130 interrupted.
    `decide` adds 5 (undecided) and 6 (no option is left), `verify` 3 (edited) and 4 (evidence is missing), and
    `verify --remeasure` 5 (not settled) and 7 (contradicted), `parity` 8 (a hop breaks its rule).
    """
    _open_streams()
    try:
        code = weigh.main(arguments, prog_name="weigh", standalone_mode=False)
    except click.Abort:
        return INTERRUPTED
    except Exception as error:
        if os.environ.get("WEIGH_DEBUG"):
            raise
        return _fail(error)
    return code if isinstance(code, int) else 0


def _open_streams() -> None:
    """Streams that were closed lead nowhere, and what a stream's encoding lacks is spelt out."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (until the process ends)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _fail(error: Exception) -> int:
    """One line on standard error, and the status."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return 2
    if isinstance(error, click.ClickException):
        usage = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
        return _say(error.format_message(), f"`{usage} --help` says more" if usage else "", 2)
    from pydantic import ValidationError

    from weigh.choice import UsageError
    from weigh.data.error import DataError
    from weigh.ledger import LedgerError

    if isinstance(error, ValidationError):
        from weigh.catalog import plain

        return _say(plain(error), "", 2)
    if isinstance(error, UsageError | DataError | LedgerError):
        return _say(str(error), "", 2)
    if isinstance(error, OSError) and error.strerror:
        return _say(_of_system(error), "", 2)
    return _say(f"{type(error).__name__}: {error}{_where(error)}", "WEIGH_DEBUG=1 shows the traceback", 1)


def _of_system(error: OSError) -> str:
    """What the system refused, and what to do about it."""
    import errno

    do = {
        errno.EACCES: "go to a folder that you may write to, or name another file",
        errno.EPERM: "go to a folder that you may write to, or name another file",
        errno.EROFS: "go to a folder that can be written to, or name another file",
        errno.ENOSPC: "make room on the disk and type the same again: nothing that was kept is lost",
        errno.EDQUOT: "make room in your quota and type the same again: nothing that was kept is lost",
        errno.ENOENT: "check the path",
        errno.ENOTDIR: "a part of the path is a file; name another place",
        errno.EISDIR: "name a file in it",
        errno.EEXIST: "name another place, or move what is there",
    }.get(error.errno or 0, "")
    return f"{error.filename or 'the system'}: {error.strerror}{f'; {do}' if do else ''}"


def _where(error: Exception) -> str:
    """The file and line that raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f", in {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""


def _say(text: str, hint: str, code: int) -> int:
    from weigh.printable import printable

    line = " ".join(printable(text).split())
    line = f"{line}{'' if line.endswith(('.', '?', ')')) else ';'} ({hint})" if hint else line
    click.echo(f"weigh: {line}", err=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
