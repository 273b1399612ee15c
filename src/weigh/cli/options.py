"""List the options of a choice, with their settings and whether they can run here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from weigh.cli._flags import json_flag, print_json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from weigh.choice import Choice, Option


@click.command("options", short_help=__doc__)
@click.argument("choice")
@click.option("--option", "wanted", multiple=True, metavar="SPEC", help="Show these only; ./mine.py shows yours.")
@json_flag
def command(choice: str, wanted: tuple[str, ...], as_json: bool) -> None:
    """List the options of CHOICE: settings with type, default and meaning, what each needs, whether it can run here."""
    from weigh import catalog

    made = catalog.choice(choice)
    _try(choice, wanted)
    known = [type(catalog.find(made, text)) for text in wanted] or list(catalog.options(made).values())
    facts = [about(option) for option in known]
    if as_json:
        print_json(facts)
        return
    from weigh import show

    console = show.console()
    console.print(f"{made.name}: {made.question}\n")
    show.put(console, _fields(made))
    console.print("\nLists are typed a,b and mappings a:1,b:2, as in FIELD=a,b.")
    console.print()
    show.put(console, _measures(made))
    for fact in facts:
        show.put(console, _block(fact, fact["option"] == made.baseline.partition(":")[0]))
    console.print()
    able = sum(not fact["missing"] for fact in facts)
    chosen = "".join(f" --option {text}" for text in wanted)
    console.print(f"{able} of {len(facts)} can run here. Race them: weigh decide {made.name} --toy{chosen}")
    console.print("(or FIELD=VALUE words of your own in place of --toy)")


def _try(choice: str, wanted: Sequence[str]) -> None:
    """Import files in a process of their own first: one that ends its process, or never ends, takes no other along."""
    from weigh.engine.local import LocalEngine
    from weigh.question import files_in

    if files := files_in(wanted):
        with LocalEngine() as engine:
            engine.load(choice, files)


def about(option: type[Option]) -> dict[str, Any]:
    """What an option says of itself, as plain values."""
    return {
        "option": option.name,
        "summary": option.summary(),
        "settings": settings(option),
        "variants": [dict(variant) for variant in option.variants],
        "needs": option.needs.model_dump(),
        "missing": option.needs.missing(),
    }


def settings(model: type[Any]) -> list[dict[str, Any]]:
    """The fields of a settings object or task: name, type, default (absent where one must be given), meaning."""
    rows = []
    for name, field in model.model_fields.items():
        row = {"name": name, "type": type_name(field.annotation), "meaning": field.description or ""}
        row |= {} if field.is_required() else {"default": _plain(field.get_default(call_default_factory=True))}
        rows.append(row)
    return rows


def type_name(annotation: Any) -> str:
    """A type in the words of who types it: ``number``, ``file``, ``minmax | entropy``, ``list of text``."""
    import types
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Literal, Union, get_args, get_origin

    origin, parts = get_origin(annotation), [part for part in get_args(annotation) if part is not ...]
    if origin is Literal:
        return " | ".join(map(str, parts))
    if origin in (Union, types.UnionType):
        return " | ".join(type_name(part) for part in parts)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"mapping of {type_name(parts[0])} to {type_name(parts[1])}"
    if isinstance(origin, type) and issubclass(origin, Sequence | set | frozenset):
        return f"list of {type_name(parts[0])}"
    if origin is not None:
        return type_name(parts[0])
    names = {
        Path: "file", type(None): "none", Any: "any value", str: "text", int: "whole number", float: "number",
        bool: "true | false",
    }  # fmt: skip
    return names.get(annotation) or str(getattr(annotation, "__name__", annotation))


def _plain(value: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(object).dump_python(value, mode="json")


def _fields(made: Choice) -> RenderableType:
    """What a task of the choice is given as."""
    from weigh import show

    rows = [(row["name"], _type(row), row["meaning"]) for row in settings(made.task)]
    return show.table(["task field", "type = default", "meaning"], rows)


def _measures(made: Choice) -> RenderableType:
    """What constraints and the objective may name."""
    from weigh import show

    rows = [(m.name, f"{m.better}{f', {m.unit}' if m.unit else ''}", m.meaning) for m in made.measures]
    return show.table(["measure", "better, unit", "meaning"], rows)


def _type(row: dict[str, Any]) -> str:
    default = default_text(row)
    return f"{row['type']}, {default[1:-1]}" if "default" not in row else f"{row['type']} = {default}"


def _block(fact: dict[str, Any], baseline: bool) -> RenderableType:
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    from weigh import show

    head = Text.assemble((fact["option"], "bold"), " (baseline)" if baseline else "", f"  {fact['summary']}")
    able = Text("can run here", "green")
    if fact["missing"]:
        able = Text("cannot run here: " + "; ".join(fact["missing"]), "red")
    rows = [(row["name"], _type(row), row["meaning"]) for row in fact["settings"]]
    parts: list[RenderableType] = [able]
    if rows:
        parts.append(show.table(["setting", "type = default", "meaning"], rows))
    return Group("", head, Padding(Group(*parts), (0, 0, 0, 2)))


def default_text(row: dict[str, Any]) -> str:
    """A default as one would type it."""
    import json

    if "default" not in row:
        return "(must be given)"
    value = row["default"]
    return "none" if value is None else value if isinstance(value, str) and value else json.dumps(value)
