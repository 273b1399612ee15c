"""What an import path stands for today: versions of distributions, and the bytes of the user's own files.

Nothing is imported for it, since the process that asks need not be the one that fits.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import packages_distributions, version
from pathlib import Path

_INSTALLED = {"site-packages", "dist-packages"}
_PARSING = threading.Lock()


def sources(paths: Sequence[str]) -> dict[str, str]:
    """What the modules of some import paths (``module:name``) are made of.

    An installed distribution is its version. A file of the user's own is the digest of its bytes, a package that of all
    its Python files; what they import is followed as far as it can be told from import statements.

    Returns:
        distribution or module -> version or digest, in order of name; a module that is not there is ``missing``.
    """
    found: dict[str, str] = {}
    wanted = [path.partition(":")[0].partition(".")[0] for path in paths if path]
    seen: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name in seen or name in sys.stdlib_module_names or not name.isidentifier():
            continue
        seen.add(name)
        files = _files(name)
        found |= _installed(name) if files is None else {name: _digest(files)}
        wanted += [other for file in files or () for other in _imported(file)]
    return dict(sorted(found.items()))


def _files(name: str) -> list[Path] | None:
    """The Python files of a module of the user's own, none where it is not found; None for an installed one."""
    spec = PathFinder.find_spec(name, [*sys.path, os.getcwd()])
    if spec is None:
        return []
    places = _places(spec)
    if name == "weigh" or any(_INSTALLED & set(place.parts) for place in places):
        return None
    return sorted(file for place in places for file in (place.rglob("*.py") if place.is_dir() else [place]))


def _places(spec: ModuleSpec) -> list[Path]:
    if spec.submodule_search_locations:
        return [Path(place) for place in spec.submodule_search_locations]
    return [Path(spec.origin)] if spec.origin else []


@functools.cache
def _distributions() -> Mapping[str, Sequence[str]]:
    return packages_distributions()


def _installed(name: str) -> dict[str, str]:
    return {each: version(each) for each in _distributions().get(name, ())} or {name: "installed"}


def _digest(files: Sequence[Path]) -> str:
    if not files:
        return "missing"
    whole = hashlib.sha256()
    for file in files:
        whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()


def _imported(file: Path) -> Iterator[str]:
    """Top names of what a file imports; of one that is no Python, nothing: importing it will say so."""
    content = file.read_bytes()
    try:
        with _PARSING:  # CPython before 3.12 raises SystemError where threads switch inside a parse (gh-106905)
            tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
