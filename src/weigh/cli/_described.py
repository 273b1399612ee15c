"""The types that an option's methods take and give, in words: what an author would otherwise look up in the source."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any, get_args, get_origin

from weigh.choice import Choice, Option, Task
from weigh.cli._imports import Names

_WIDTH = 116
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def described(public: ModuleType, methods: Sequence[Callable[..., Any]]) -> str:
    """A paragraph for each type of the choice that the methods name, and for those that these name in turn."""
    waiting = [name for method in methods for name in _in_signature(method)]
    told: dict[str, str] = {}
    while waiting:
        name = waiting.pop(0)
        kind = vars(public).get(name)
        if name in told or kind is None:
            continue
        if get_origin(kind) is not None:
            told[name] = f"{name}: one of {', '.join(map(repr, get_args(kind)))}"
        elif _is_own(kind):
            told[name] = _paragraph(name, kind, public)
            waiting += _named_by(kind)
    return "\n\n".join(told.values())


def _is_own(kind: Any) -> bool:
    return (
        inspect.isclass(kind)
        and not issubclass(kind, Option | Choice | Task)
        and kind.__module__.startswith("weigh.")
        and not issubclass(kind, Exception)
    )


def _in_signature(method: Callable[..., Any]) -> Iterator[str]:
    for text in getattr(method, "fget", method).__annotations__.values():
        yield from _NAME.findall(str(text))


def _named_by(kind: type[Any]) -> Iterator[str]:
    """The names in a type's fields and methods."""
    for text in inspect.get_annotations(kind).values():
        yield from _NAME.findall(str(text))
    for _, member in _members(kind):
        yield from _in_signature(member)


def _paragraph(name: str, kind: type[Any], public: ModuleType) -> str:
    doc = inspect.getdoc(kind) or ""
    head = f"{name}: {doc.partition(chr(10))[0]}"
    types = {
        field: _written(text, kind, public)
        for field, text in inspect.get_annotations(kind).items()
        if not field.startswith("_")
    }
    told = dict(line.partition(": ")[::2] for line in _attributes(doc))
    named = {field for names in told for field in names.split(", ")}
    whole = told | {field: "" for field in types if field not in named}
    fields = [_entry(names, types.get(names.split(", ")[0], ""), text) for names, text in whole.items()]
    return "\n".join([*_wrapped(head, 0), *_flat(fields), *_flat(_calls(kind))])


def _entry(names: str, kind: str, text: str) -> str:
    return f"{names}{f' ({kind})' if kind else ''}{f': {text}' if text else ''}"


def _written(text: Any, kind: type[Any], public: ModuleType) -> str:
    """An annotation of a type's field, aliases written out."""
    if not isinstance(text, str):
        return str(getattr(text, "__name__", text))
    node = ast.parse(text, mode="eval").body
    return ast.unparse(Names(public).within(sys.modules[kind.__module__], node))


def _flat(items: Iterable[str]) -> list[str]:
    return [line for item in items for line in _wrapped(item, 4)]


def _wrapped(text: str, indent: int) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=" " * indent, subsequent_indent=" " * (indent + 4), break_long_words=False
    )


def _attributes(doc: str) -> list[str]:
    """The entries of a docstring's "Attributes:", each on one line."""
    block = doc.partition("Attributes:\n")[2].partition("\n\n")[0]
    entries: list[str] = []
    for line in textwrap.dedent(block).splitlines():
        if line.startswith(" ") and entries:
            entries[-1] += f" {line.strip()}"
        else:
            entries.append(line)
    return entries


def _calls(kind: type[Any]) -> Iterator[str]:
    for name, member in _members(kind):
        first = (inspect.getdoc(member) or "").partition("\n")[0]
        if isinstance(member, property):
            yield _entry(name, str(inspect.get_annotations(member.fget or _calls).get("return", "")), first)
        else:
            yield f"{name}{_signature(member)}{f': {first}' if first else ''}"


def _members(kind: type[Any]) -> Iterator[tuple[str, Any]]:
    """The public methods and properties of an object; what makes one is left out."""
    for name, member in vars(kind).items():
        if not name.startswith("_") and (isinstance(member, property) or inspect.isfunction(member)):
            yield name, member


def _signature(member: Callable[..., Any]) -> str:
    shown = inspect.signature(member)
    rest = [each for each in shown.parameters.values() if each.name != "self"]
    return str(shown.replace(parameters=rest)).replace("'", "")
