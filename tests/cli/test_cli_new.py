"""What `weigh new` writes says all that an author must know of what the methods are given."""

from __future__ import annotations

import ast
import inspect
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from ran import Run

from weigh import catalog

TAKEN = {
    "monitor/drift": ("Sample",),
    "compress/quantize": ("Calibration",),
    "retrain/cadence": ("Day", "Action"),
    "cause/experiment": ("Experiments", "Arm", "Units", "Readings"),
}


def written(weigh: Run, choice: str) -> str:
    assert weigh("new", choice, "mine").code == 0
    return Path("mine.py").read_text()


@pytest.mark.parametrize("choice", TAKEN)
def test_every_field_and_method_of_what_is_taken_is_named(weigh: Run, choice: str) -> None:
    doc = ast.get_docstring(ast.parse(written(weigh, choice))) or ""
    public = inspect.getmodule(catalog.choice(choice))
    paragraphs = {part.partition(":")[0]: part for part in doc.split("\n\n")}
    for name in TAKEN[choice]:
        kind = getattr(public, name)
        known = [field.name for field in fields(kind)] if is_dataclass(kind) else []
        known += [name for name, member in vars(kind).items() if inspect.isfunction(member) and name[0] != "_"]
        for field in known:
            assert field in paragraphs[name], (name, field)
    assert max(map(len, doc.splitlines())) <= 120


@pytest.mark.parametrize("choice", TAKEN)
def test_nothing_comes_from_a_private_module(weigh: Run, choice: str) -> None:
    tree = ast.parse(written(weigh, choice))
    modules = [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert modules and not [module for module in modules if "._" in module]
    names = {alias.asname or alias.name for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)
             for alias in node.names}  # fmt: skip
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert names - {"annotations"} <= used


def test_an_alias_for_type_checkers_is_written_out(weigh: Run) -> None:
    text = written(weigh, "monitor/drift")
    assert "def score(self, state: Any, window: Sample) -> float | NDArray[np.float64]:" in text
    assert "if TYPE_CHECKING:\n    import numpy as np\n    from numpy.typing import NDArray\n" in text
    assert "levels (tuple[int, ...]): how many codes each category column has" in text
