"""The text of a new option, made from the abstract class that it finalises."""

from __future__ import annotations

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weigh.choice import Choice, Option

_FILE = '''"""{title} for {choice}."""

from __future__ import annotations

{imports}


class {cls}({base}):
    """{title}: say in one line what it does.

    Good when: say when. Bad when: say when.

    Source: the paper, standard or page that it comes from.
    """

    needs = {needs}  # such as Needs(packages=("scipy>=1.15",)); import them inside the methods

    strength: float = Field(1.0, gt=0, description="an example of a setting: rename it, or take it out")
{methods}'''

_METHOD = """
{signature}
{doc}
{body}
"""


def render(made: Choice, option: str) -> str:
    """A file that finalises the choice's abstract class."""
    base = made.option
    methods = [getattr(base, name) for name in _in_order(base)]
    names = {base.__module__: {base.__name__}, "pydantic": {"Field"}, "weigh.choice": {"Needs"}}
    for name, module in {name: _origin(method, name) for method in methods for name in _names(method)}.items():
        names.setdefault(module, set()).add(name)
    names.pop("", None)
    own = getattr(sys.modules[base.__module__], "TEMPLATE", "")
    body = textwrap.indent(textwrap.dedent(own).strip("\n"), "    ") if own else ""
    return _FILE.format(
        title=option.replace("_", " ").capitalize(),
        choice=made.name,
        imports=_imports(names, {base.__module__, "pydantic"}),
        cls="".join(part.capitalize() for part in option.split("_")),
        base=base.__name__,
        needs=_needs(base),
        methods=f"\n{body}\n" if body else "".join(map(_method, methods)),
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


def _method(method: Callable[..., Any]) -> str:
    node = _node(method)
    node.body = [ast.Pass()]
    node.decorator_list = [d for d in node.decorator_list if "abstractmethod" not in ast.unparse(d)]
    signature = ast.unparse(node).rsplit("\n", 1)[0]
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


def _names(method: Callable[..., Any]) -> Iterator[str]:
    """The names that a method's signature uses."""
    node = _node(method)
    parts = [a.annotation for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    for part in (*parts, node.returns, *node.args.defaults):
        yield from (item.id for item in ast.walk(part) if isinstance(item, ast.Name)) if part else ()


def _origin(method: Callable[..., Any], name: str) -> str:
    """The import that brings a name: ``module`` to import it from, or ``import x as y`` in full; empty for builtins."""
    module = sys.modules[getattr(method, "fget", method).__module__]
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Import | ast.ImportFrom) and name in {a.asname or a.name for a in node.names}:
            if isinstance(node, ast.Import):
                return ast.unparse(node)
            return str(node.module)
    return module.__name__ if hasattr(module, name) else ""


def _imports(names: dict[str, set[str]], used: set[str]) -> str:
    """Import lines: the standard library, what is `used` when the file runs, weigh; the rest only for type checkers."""
    groups: dict[int, list[str]] = {0: [], 1: [], 2: [], 3: []}
    for module, wanted in sorted(names.items()):
        line = module if module.startswith("import ") else f"from {module} import {', '.join(sorted(wanted))}"
        root = line.split()[1].split(".")[0]
        own = 2 if root == "weigh" else 1 if module in used else 3
        groups[0 if root in sys.stdlib_module_names else own].append(line)
    if typed := groups.pop(3):
        groups[0].append("from typing import TYPE_CHECKING")
        groups[4] = ["if TYPE_CHECKING:", *(f"    {line}" for line in typed)]
    return "\n\n".join("\n".join(lines) for lines in groups.values() if lines)
