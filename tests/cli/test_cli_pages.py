"""The generated pages say what the code says."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import jsonschema
import pytest
from ran import Run

from weigh import catalog
from weigh.cli import VERBS
from weigh.decision import Decision

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "generate.py"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("choice", sorted(catalog.choices()))
def test_a_page_names_every_measure_option_and_setting(generate: ModuleType, choice: str):
    made = catalog.choice(choice)
    page = generate.choice_page(made)
    assert made.question in page and f"weigh decide {choice} --toy" in page
    for measure in made.measures:
        assert f"| {measure.name} | {measure.unit} |" in page
    for name, option in catalog.options(made).items():
        assert f"\n### {name}\n" in page and option.summary() in page
        for setting, field in option.model_fields.items():
            assert f"| `{setting}` |" in page and str(field.description).replace("|", "\\|") in page


def test_the_table_goes_between_its_marks(generate: ModuleType):
    text = generate.with_table("# Before\n<!-- mine -->\nold\n<!-- /mine -->\nafter\n", "mine", "| new |")
    assert text == "# Before\n<!-- mine -->\n| new |\n<!-- /mine -->\nafter\n"
    assert generate.with_table(text, "mine", "| new |") == text
    with pytest.raises(ValueError, match="has no lines <!-- mine -->"):
        generate.with_table("# Before\n", "mine", "| new |")


def test_the_command_line_page_has_every_verb(generate: ModuleType):
    page = generate.cli_page()
    for verb in VERBS:
        assert f"\n## weigh {verb}\n" in page and f"Usage: weigh {verb} " in page
    assert max(map(len, page.splitlines())) <= generate.WIDTH


def test_what_is_written_fits_its_schema(generate: ModuleType, weigh: Run):
    schemas = {name: json.loads(text) for name, text in generate.schemas().items()}
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    made = json.loads(weigh("decide", "guess:Guess", "--toy", "--quiet", "--json").out)
    made = {name: made[name] for name in Decision.model_fields}
    jsonschema.validate(made, schemas["decision"])
    for line in weigh("ledger", "export").out.splitlines():
        row = json.loads(line)
        if "body" in row:
            jsonschema.validate(row["body"], schemas[row["table"].removeprefix("weigh_")])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**made, "verdict": "maybe"}, schemas["decision"])


def test_a_stale_page_is_found(generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    marks = [f"<!-- {name} -->\n<!-- /{name} -->\n" for name in ("choices", "decisions")]
    (tmp_path / "README.md").write_text("".join(marks))
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    assert generate.main(["--check"]) == 1
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    (tmp_path / "docs" / "cli.md").write_text("old")
    (tmp_path / "docs" / "choices" / "gone-away.md").write_text("old")
    assert generate.main(["--check"]) == 1
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    assert not (tmp_path / "docs" / "choices" / "gone-away.md").exists()
