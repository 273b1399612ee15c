"""The text of a new option, made from the abstract class that it finalises."""

from __future__ import annotations

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from weigh.cli._described import described
from weigh.cli._imports import Names, lines

if TYPE_CHECKING:
    from weigh.choice import Choice, Option

_FILE = '''"""{title} for {choice}.{types}"""

from __future__ import annotations

{imports}


class {cls}({base}):
    """{title}: say in one line what it does.

    Good when: say when. Bad when: say when.

    Source: the paper, standard or page that it comes from.
    """

    # such as Needs(packages=("scipy>=1.15",)): import them inside the methods
    needs = {needs}

    strength: float = Field(1.0, gt=0, description="an example of a setting: rename it, or take it out")
{methods}'''

_TYPES = "What its methods are given and give, for you to read and to take out:"
_METHOD = """
{signature}
{doc}
{body}
"""


def render(made: Choice, option: str) -> str:
    """A file that finalises the choice's abstract class; its docstring says what the methods are given."""
    base = made.option
    public = sys.modules[base.__module__]
    methods = [getattr(base, name) for name in _in_order(base)]
    names = Names(public)
    stubs = [_method(method, names) for method in methods]
    wanted = {base.__module__: {base.__name__}, "pydantic": {"Field"}, "weigh.choice": {"Needs"}}
    for module, found in names.found.items():
        wanted[module] = wanted.get(module, set()) | found
    own = getattr(public, "TEMPLATE", "")
    types = described(public, methods)
    return _FILE.format(
        title=option.replace("_", " ").capitalize(),
        choice=made.name,
        types=f"\n\n{_TYPES}\n\n{types}\n" if types else "",
        imports=lines(wanted, {base.__module__, "pydantic"}),
        cls="".join(part.capitalize() for part in option.split("_")),
        base=base.__name__,
        needs=_needs(base),
        methods=f"\n{textwrap.indent(textwrap.dedent(own).strip(chr(10)), '    ')}\n" if own else "".join(stubs),
    )


def _needs(base: type[Option]) -> str:
    """What the abstract class needs already, as it is written."""
    packages = "".join(f"{json.dumps(package)}, " for package in base.needs.packages).rstrip()
    packages = packages.rstrip(",") if len(base.needs.packages) != 1 else packages
    extra = f", extra={json.dumps(base.needs.extra)}" if base.needs.extra else ""
    return f"Needs(packages=({packages}){extra})"


def _in_order(base: type[Any]) -> list[str]:
    """The abstract methods as they are written, one after the other."""
    order = [name for cls in reversed(base.__mro__) for name in vars(cls)]
    return sorted(base.__abstractmethods__, key=order.index)


def _method(method: Callable[..., Any], names: Names) -> str:
    node = _node(method)
    node.body = [ast.Pass()]
    node.decorator_list = [d for d in node.decorator_list if "abstractmethod" not in ast.unparse(d)]
    rewritten = names.within(sys.modules[getattr(method, "fget", method).__module__], node)
    signature = ast.unparse(rewritten).rsplit("\n", 1)[0]
    doc = inspect.getdoc(method) or "What it does."
    tail = "\n" if "\n" in doc else ""
    message = textwrap.shorten(f"fill in {method.__name__}: {doc.splitlines()[0]}", 80, placeholder=" ...")
    indent = " " * 8
    return _METHOD.format(
        signature=textwrap.indent(signature, "    "),
        doc=textwrap.indent(f'{"r" if chr(92) in doc else ""}"""{doc}{tail}"""', indent),
        body=f"{indent}raise NotImplementedError({json.dumps(message, ensure_ascii=False)})",
    )


def _node(method: Callable[..., Any]) -> ast.FunctionDef:
    source = textwrap.dedent(inspect.getsource(getattr(method, "fget", method)))
    node = ast.parse(source).body[0]
    assert isinstance(node, ast.FunctionDef)
    return node
