"""The rules: each file under `rules/` whose name has no leading underscore, and any file given by its path."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

from benchmarks.decisions.asked import Rule
from weigh.choice import UsageError

_ROOT = Path(__file__).parents[2]
_RULES = Path(__file__).parent / "rules"
_WHERE = {"benchmarks": _ROOT / "benchmarks", "weigh": _ROOT / "src" / "weigh"}


def names() -> list[str]:
    """All rules of the folder."""
    return sorted(path.stem for path in _RULES.glob("*.py") if not path.stem.startswith("_"))


def path(rule: str) -> Path:
    """The file of a rule: a name of the folder, or a path.

    Raises:
        UsageError: there is none.
    """
    found = Path(rule) if rule.endswith(".py") else _RULES / f"{rule}.py"
    if not found.is_file():
        raise UsageError(f"no rule {rule!r}: give one of {', '.join(names())}, or the path of a file, as in ./mine.py")
    return found


def load(rule: str) -> Rule:
    """The `decide` of a rule's file."""
    decide: Rule = module(rule).decide
    return decide


@cache
def module(rule: str) -> ModuleType:
    """A rule's file.

    Raises:
        UsageError: there is no such file, it cannot be imported, or it has no `decide`.
    """
    file = path(rule)
    if file.parent == _RULES:
        made = importlib.import_module(f"benchmarks.decisions.rules.{file.stem}")
    else:
        made = _imported_from(file)
    if not callable(getattr(made, "decide", None)):
        raise UsageError(
            f"{file} has no decide(asked, meter, seed): see benchmarks/decisions/asked.py for what it gets"
        )
    return made


def _imported_from(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(made)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{file} cannot be imported: {type(error).__name__}: {error}; mend it") from None
    return made


@cache
def digest(rule: str) -> str:
    """Of all that a rule rests on in this repository."""
    hashed = hashlib.sha256()
    for body in sorted(file.read_bytes() for file in files(rule)):
        hashed.update(hashlib.sha256(body).digest())
    return hashed.hexdigest()


def files(rule: str) -> set[Path]:
    """The rule's file, every file of this repository that it imports, and what those import."""
    seen: set[Path] = set()
    waiting = [path(rule)]
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen.add(file)
            waiting += _imported(file.read_bytes())
    return seen


def _imported(source: bytes) -> list[Path]:
    modules: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules += [node.module, *[f"{node.module}.{alias.name}" for alias in node.names]]
    parts = [module.split(".") for module in modules]
    files = [_WHERE[part[0]].joinpath(*part[1:]).with_suffix(".py") for part in parts if part[0] in _WHERE]
    return [file for file in files if file.is_file()]
