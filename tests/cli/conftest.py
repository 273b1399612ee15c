"""`weigh` as a function, in an empty folder, over the small choice `guess:Guess`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from weigh.cli import main


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def first(self) -> str:
        return self.out.partition("\n")[0]


Run = Callable[..., Ran]


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
