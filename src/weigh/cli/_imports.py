"""Which imports bring the names in an abstract method's signature, without going through private modules."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import sys
from collections.abc import Iterator
from types import ModuleType


class Names(ast.NodeTransformer):
    """Rewrites annotations so that each name in them can be imported, and gathers the imports.

    A name that the choice's own module has comes from there. Another comes from where that module has it; if it is an
    alias that exists for type checkers alone, what it stands for is written in its place.

    Attributes:
        found: module (or a whole import line) -> names to import from it.
    """

    def __init__(self, public: ModuleType) -> None:
        self.found: dict[str, set[str]] = {}
        self._public, self._module = public, public

    def within(self, module: ModuleType, node: ast.AST) -> ast.AST:
        """The node, whose names are those of `module`, rewritten."""
        before, self._module = self._module, module
        made: ast.AST = self.visit(node)
        self._module = before
        return made

    def visit_Name(self, node: ast.Name) -> ast.AST:
        name = node.id
        if hasattr(builtins, name):
            return node
        if hasattr(self._public, name):
            return self._from(_home(self._public, name), node)
        for statement in statements(self._module):
            if isinstance(statement, ast.Import | ast.ImportFrom) and name in _brought(statement):
                return self._imported(statement, node)
            if isinstance(statement, ast.AnnAssign) and getattr(statement.target, "id", "") == name and statement.value:
                return self.within(self._module, statement.value)
        return self._from(self._module.__name__, node) if hasattr(self._module, name) else node

    def _imported(self, statement: ast.Import | ast.ImportFrom, node: ast.Name) -> ast.AST:
        if isinstance(statement, ast.Import):
            self.found.setdefault(ast.unparse(statement), set())
            return node
        module = str(statement.module)
        if module.startswith("weigh."):
            return self.within(importlib.import_module(module), node)
        return self._from(module, node)

    def _from(self, module: str, node: ast.Name) -> ast.Name:
        self.found.setdefault(module, set()).add(node.id)
        return node


def _home(public: ModuleType, name: str) -> str:
    """Where a name of the choice's module is imported from: there if it is weigh's, its own library otherwise."""
    for statement in statements(public):
        if isinstance(statement, ast.ImportFrom) and name in _brought(statement):
            return public.__name__ if str(statement.module).startswith(public.__name__) else str(statement.module)
    return public.__name__


def _brought(statement: ast.Import | ast.ImportFrom) -> set[str]:
    return {alias.asname or alias.name for alias in statement.names}


def statements(module: ModuleType) -> Iterator[ast.stmt]:
    """What stands at the top of a module, and under its `if TYPE_CHECKING`."""
    for statement in ast.parse(inspect.getsource(module)).body:
        yield from statement.body if isinstance(statement, ast.If) else (statement,)


def lines(names: dict[str, set[str]], used: set[str]) -> str:
    """Import lines: the standard library, what is `used` when the file runs, weigh; the rest only for type checkers."""
    roots = {module: _root(module) for module in names}
    typed = {m for m in names if roots[m] != "weigh" and roots[m] not in sys.stdlib_module_names and m not in used}
    if typed:
        names = {**names, "typing": names.get("typing", set()) | {"TYPE_CHECKING"}}
    groups: list[list[str]] = [[], [], [], []]
    for module in sorted(names):
        place = 3 if module in typed else 2 if _root(module) == "weigh" else 1 if module in used else 0
        groups[place].append(_line(module, names[module]))
    if typed:
        groups[3] = ["if TYPE_CHECKING:", *(f"    {line}" for line in groups[3])]
    return "\n\n".join("\n".join(group) for group in groups if group)


def _root(module: str) -> str:
    return module.removeprefix("import ").split(".")[0].split()[0]


def _line(module: str, names: set[str]) -> str:
    ordered = sorted(names, key=lambda name: (not name.isupper(), name))
    return module if module.startswith("import ") else f"from {module} import {', '.join(ordered)}"
