"""docs/serving.md: its examples print what it says, and its commands are those of the command line."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"


def test_the_examples_print_what_the_page_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.testfile(str(PAGE), module_relative=False, optionflags=flags).failed == 0


def commands() -> list[list[str]]:
    fences = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = "".join(fences).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("weigh ")]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_the_commands_are_there(words: list[str]):
    """Each flag of each command, asked for its help in place of being run."""
    from weigh.cli import weigh

    done = CliRunner().invoke(weigh, [*words[: 2 if words[0] == "rollout" else 1], "--help"])
    assert done.exit_code == 0
    for flag in (word for word in words if word.startswith("--")):
        assert flag in done.output
