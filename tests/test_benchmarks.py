"""The benchmarks run, and what is kept of them speaks of every choice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest

from benchmarks.honesty import race
from weigh import Ledger, catalog

RESULT = Path(__file__).parents[1] / "benchmarks" / "results" / "honesty.json"


@pytest.mark.parametrize("choice", ["compress/quantize", "cause/experiment"])
@pytest.mark.parametrize(("kind", "come_out"), [("twins", {"equal", "tie"}), ("loser", {"rejected"})])
def test_a_race_for_honesty_runs(tmp_path: Path, choice: str, kind: Literal["twins", "loser"], come_out: set[str]):
    task = catalog.choice(choice).toy(tmp_path)
    with Ledger(tmp_path / "ledger.db") as ledger:
        assert race(choice, task, kind, 0, ledger) in come_out


def test_the_honesty_that_is_kept_is_of_every_choice():
    figures = json.loads(RESULT.read_text(encoding="utf-8"))["figures"]
    kinds = ("tie_rate", "certified_rate", "loser_chosen", "loser_rejected")
    wanted = {f"{choice.replace('/', '_')}_{kind}" for choice in catalog.choices() for kind in kinds}
    missing = sorted(wanted - set(figures))
    assert not missing, f"{', '.join(missing)} are missing: type `make bench-honesty`"


def test_the_honesty_that_is_kept_is_of_a_commit():
    commit = json.loads(RESULT.read_text(encoding="utf-8"))["commit"]
    assert "+" not in commit, f"{commit} were not committed: commit first, then type `make bench-honesty`"
