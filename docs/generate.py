"""Writes what is made from the code: `docs/choices/*.md`, `docs/cli.md`, `docs/schema/*.json`, tables in README.

`python docs/generate.py` writes it; `python docs/generate.py --check` says what is stale and then exits with 1.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from weigh import catalog
from weigh.choice import Choice, Measure, Option

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "decisions.json"
WIDTH = 100
_GENERATED = "<!-- Written by docs/generate.py: change the code, then `make docs`. -->"


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or check them; the exit status."""
    if unknown := set(arguments) - {"--check"}:
        print(f"generate.py: there is no argument {sorted(unknown)[0]!r}; type --check or nothing", file=sys.stderr)
        return 2
    pages, bad = everything(), 0
    readme = ROOT / "README.md"
    try:
        text = with_table(readme.read_text(encoding="utf-8"), "choices", choices_table(known_choices()))
        rules = json.loads(RESULT.read_text(encoding="utf-8"))["figures"]["rules"]
        pages[readme] = with_table(text, "decisions", rules_table(rules))
    except ValueError as error:
        print(error, file=sys.stderr)
        bad = 1
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    gone = [
        path for folder in ("choices", "schema") for path in (ROOT / "docs" / folder).glob("*") if path not in pages
    ]
    if "--check" in arguments:
        for path in (*stale, *gone):
            print(f"{path.relative_to(ROOT)} is stale: type `make docs`", file=sys.stderr)
        return 1 if stale or gone else bad
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pages[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    for path in gone:
        path.unlink()
        print(f"removed {path.relative_to(ROOT)}")
    return bad


def known_choices() -> list[Choice]:
    """The choices that weigh itself brings, by name."""
    return [made for _, made in sorted(catalog.choices().items()) if type(made).__module__.startswith("weigh.")]


def everything() -> dict[Path, str]:
    """Every generated page by path, README apart."""
    pages = {ROOT / "docs" / "choices" / f"{page_name(made.name)}.md": choice_page(made) for made in known_choices()}
    pages[ROOT / "docs" / "cli.md"] = cli_page()
    return pages | {ROOT / "docs" / "schema" / f"{name}.json": text for name, text in schemas().items()}


def page_name(choice: str) -> str:
    """``area/choice`` as a file's name."""
    return choice.replace("/", "-")


# a choice


def choice_page(made: Choice) -> str:
    """All of one choice: question, task, measures, options."""
    options = own_options(made)
    parts = [
        _GENERATED,
        f"# {made.name}",
        made.question,
        f"```sh\nweigh decide {made.name} --toy\n```",
        "## Task",
        table(["field", "type", "default", "meaning"], fields(made.task)),
        "## Measures",
        table(["measure", "unit", "better", "kind", "meaning"], [measure_row(measure) for measure in made.measures]),
        objective_text(made),
        "## Options",
        table(
            ["option", "what it is", "needs"], [(f"[{o.name}](#{o.name})", o.summary(), needs_text(o)) for o in options]
        ),
        *(option_part(option, option.name == made.baseline.partition(":")[0]) for option in options),
        "## What re-opens a decision",
        "\n".join(f"- {what}: {how}" for what, how in made.assumptions.items()),
    ]
    return "\n\n".join(parts) + "\n"


def own_options(made: Choice) -> list[type[Option]]:
    """The options that weigh itself brings."""
    return [option for option in catalog.options(made).values() if option.__module__.startswith("weigh.")]


def measure_row(measure: Measure) -> tuple[str, ...]:
    """One measure in a table."""
    kind = {"mean": f"mean, {measure.low:g} to {measure.high:g}", "quantile": f"quantile {measure.q:g}"}
    return measure.name, measure.unit, measure.better, kind.get(measure.kind, measure.kind), measure.meaning


def objective_text(made: Choice) -> str:
    """What decides, and what must hold, unless one says otherwise."""
    first = made.measures[0]
    rules = ", ".join(f"`{text}`" for text in made.require) or "none"
    return (
        f"Unless you say otherwise the {first.better} `{first.name}` wins, constraints: {rules}; the baseline is "
        f"`{made.baseline}`, and of tied options the cheapest by `{made.cost}` is taken."
    )


def option_part(option: type[Option], baseline: bool) -> str:
    """One option: its docstring and settings."""
    import inspect

    rows = fields(option)
    raced = ", ".join(f"`{option.model_validate(dict(variant)).spec}`" for variant in option.variants)
    parts = [
        f"### {option.name}",
        inspect.cleandoc(option.__doc__ or ""),
        *([table(["setting", "type", "default", "meaning"], rows)] if rows else []),
        f"Raced by default as {raced}.{' The baseline.' if baseline else ''} Needs: {needs_text(option)}.",
    ]
    return "\n\n".join(parts)


def needs_text(option: type[Option]) -> str:
    """What an option needs, and what installs it."""
    needs = option.needs
    extra = f' (`pip install "weigh[{needs.extra}]"`)' if needs.extra and needs.packages else ""
    parts = [", ".join(f"`{package}`" for package in needs.packages) + extra if needs.packages else ""]
    parts.append("an NVIDIA GPU" if needs.hardware else "")
    return ", ".join(part for part in parts if part) or "nothing more"


def fields(model: type[Any]) -> list[tuple[str, ...]]:
    """Fields of a task or option in a table."""
    from weigh.cli.options import default_text, settings

    return [(f"`{row['name']}`", f"`{row['type']}`", default_text(row), row["meaning"]) for row in settings(model)]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in lines
    )


# README, the command line, schemas


def choices_table(known: Sequence[Choice]) -> str:
    """The table of choices in README."""
    rows = [
        (
            f"[{made.name}](docs/choices/{page_name(made.name)}.md)",
            made.question,
            ", ".join(option.name for option in own_options(made)),
            ", ".join(
                f"{measure.name} ({measure.unit})" if measure.unit else measure.name for measure in made.measures
            ),
        )
        for made in known
    ]
    return table(["choice", "question", "options", "measures"], rows)


def rules_table(rules: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of decision rules in README, out of what `make bench-decisions` wrote: weigh, then by violators."""
    rows = [
        (
            f"**{name}**" if name == "weigh" else name.replace("_", " "),
            f"{100 * of['violators_max']:.1f} % (at most {100 * of['violators_upper_max']:.1f} %)",
            f"{of['cost_ratio_mean']:.3f}",
            f"{100 * of['measured_fraction_mean']:.1f} %",
        )
        for name, of in sorted(rules.items(), key=lambda item: (item[0] != "weigh", item[1]["violators_max"]))
    ]
    columns = ["rule", "violators shipped, in the worst family (upper 95 % bound)", "cost / oracle's", "measured"]
    return table(columns, rows)


def with_table(readme: str, name: str, text: str) -> str:
    """README with a table between its marks.

    Raises:
        ValueError: the marks are not there.
    """
    opening, closing = f"<!-- {name} -->", f"<!-- /{name} -->"
    head, start, rest = readme.partition(opening)
    _, end, tail = rest.partition(closing)
    if not (start and end):
        raise ValueError(f"README.md has no lines {opening} and {closing}: write them where the table of {name} goes")
    return f"{head}{start}\n{text}\n{end}{tail}"


def cli_page() -> str:
    """`--help` of every verb."""
    import click

    from weigh.cli import VERBS, weigh

    top = click.Context(weigh, info_name="weigh", terminal_width=WIDTH, **weigh.context_settings)
    parts = [_GENERATED, "# The command line", f"```text\n{plain_help(weigh, top)}\n```"]
    for verb in VERBS:
        command = weigh.get_command(top, verb)
        assert command is not None
        ctx = click.Context(command, info_name=verb, parent=top, terminal_width=WIDTH)
        parts += [f"## weigh {verb}", f"```text\n{plain_help(command, ctx)}\n```"]
        for name, inner in command.commands.items() if isinstance(command, click.Group) else ():
            below = click.Context(inner, info_name=name, parent=ctx, terminal_width=WIDTH)
            parts += [f"### weigh {verb} {name}", f"```text\n{plain_help(inner, below)}\n```"]
    return "\n\n".join(parts) + "\n"


def plain_help(command: Any, ctx: Any) -> str:
    """What `--help` prints, without blanks at the ends of lines."""
    return "\n".join(line.rstrip() for line in command.get_help(ctx).splitlines()).strip()


def schemas() -> dict[str, str]:
    """JSON Schema of what other programs read and write, by name."""
    from weigh.cli._answer import Answer
    from weigh.decision import Decision, Lock
    from weigh.evidence import Evidence
    from weigh.flow import Question
    from weigh.record import Front

    models: dict[str, type[BaseModel]] = {
        "question": Question,
        "lock": Lock,
        "decision": Decision,
        "answer": Answer,
        "evidence": Evidence,
        "record": Front,
    }
    made = {
        name: {"$schema": "https://json-schema.org/draft/2020-12/schema", **m.model_json_schema()}
        for name, m in models.items()
    }
    return {name: json.dumps(schema, indent=2, ensure_ascii=False) + "\n" for name, schema in made.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
