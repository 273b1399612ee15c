"""`weigh` as a function, in an empty folder, over the small choice `guess:Guess`."""

from __future__ import annotations

from pathlib import Path

import pytest
from ran import Ran, Run

from weigh.cli import main


@pytest.fixture
def weigh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WEIGH_DEBUG", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*words: str) -> Ran:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Ran(code, *capsys.readouterr())

    return run
