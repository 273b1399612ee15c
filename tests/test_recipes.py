"""The recipes: short, and every choice and option that they name is there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from weigh import catalog

RECIPES = Path(__file__).parents[1] / "recipes"


@pytest.mark.parametrize("name", ["flights.py", "small_language_model.py"])
def test_a_recipe_is_short_and_names_what_there_is(name: str):
    text = (RECIPES / name).read_text(encoding="utf-8")
    assert len(text.splitlines()) < 120
    asked = 0
    for call in ast.walk(ast.parse(text)):
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "step":
            choice = catalog.choice(ast.literal_eval(call.args[1]))
            options = next((word.value for word in call.keywords if word.arg == "options"), ast.List([]))
            for spec in ast.literal_eval(options):
                assert catalog.find(choice, spec).spec == spec, f"type {spec} as its spec says"
            asked += 1
    assert asked >= 3
