"""What pydantic refuses, in words that say what to type."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

_KINDS = (
    ("int", "a whole number"),
    ("float", "a number"),
    ("decimal", "a number"),
    ("finite_number", "a finite number"),
    ("bool", "true or false"),
    ("string", "a text"),
    ("path", "the path of a file"),
    ("dict", "name:value pairs"),
    ("mapping", "name:value pairs"),
    ("tuple", "a list"),
    ("list", "a list"),
    ("set", "a list"),
    ("none_required", "left out"),
)
"""The beginnings of pydantic's error types, and what was wanted."""
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}
_HOW = {"a list": "{0}=a,b", "name:value pairs": "{0}=a:1,b:2"}
_LONGEST = 80
_MEMBERS = frozenset("int float str bool decimal path date datetime none function".split())
"""What pydantic calls the members of a union in an error's place."""


def plain(error: ValidationError) -> str:
    """A validation error in one line: which field, what it must be, and what was given.

    >>> from pydantic import BaseModel, Field, ValidationError
    >>> class Windows(BaseModel):
    ...     window: int = Field(1000, ge=20)
    >>> try:
    ...     Windows(window=0)
    ... except ValidationError as error:
    ...     plain(error)
    'window must be at least 20, not 0'
    """
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in error.errors(include_url=False):
        groups.setdefault((_field(one), repr(one["input"])), []).append(one)
    return "; ".join(_sentence(field, details) for (field, _), details in groups.items())


def _field(one: Mapping[str, Any]) -> str:
    """The field that is wrong, one level down where it is a part that has a name of its own."""
    names = [p for p in one["loc"] if isinstance(p, str) and p.isidentifier() and p.lower() not in _MEMBERS]
    return ".".join(names[:2] if one["type"] not in ("literal_error", "enum") else names[:1])


def _sentence(field: str, details: list[Mapping[str, Any]]) -> str:
    first = details[0]
    if first["type"] in ("value_error", "assertion_error"):
        said = first["msg"].partition(", ")[2]
        return f"{field}: {said}" if field else said
    if first["type"] == "missing":
        return f"{field} must be given"
    if first["type"] == "extra_forbidden":
        return f"there is no '{field}' here; leave it out"
    if len(details) == 1 and (known := _literals(first)):
        from weigh.choice import unknown

        return unknown("value", str(first["input"]), known, f"of {field}" if field else "")
    wanted = " or ".join(dict.fromkeys(_wanted(one) for one in details))
    how = _HOW.get(wanted, "").format(field or "name")
    return f"{field or 'it'} must be {wanted}{f', typed {how}' if how else ''}, not {_given(first['input'])}"


def _wanted(one: Mapping[str, Any]) -> str:
    context: Mapping[str, Any] = one.get("ctx", {})
    if one["type"] in _BOUNDS:
        words, key = _BOUNDS[one["type"]]
        return f"{words} {context[key]:g}" if isinstance(context[key], float) else f"{words} {context[key]}"
    if known := _literals(one):
        return f"one of {', '.join(known)}"
    if "parsing" in one["type"] or one["type"].endswith(("_type", "_from_float", "_required", "finite_number")):
        for start, noun in _KINDS:
            if one["type"].startswith(start):
                return noun
    return str(one["msg"]).removeprefix("Input should be ").removeprefix("Input should ")


def _literals(one: Mapping[str, Any]) -> list[str]:
    if one["type"] not in ("literal_error", "enum"):
        return []
    return re.findall(r"'([^']*)'", str(one.get("ctx", {}).get("expected", "")))


def _given(value: Any) -> str:
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
