"""A crash, a hang or a leak of an option is evidence, not an accident."""

from __future__ import annotations

from pathlib import Path

import pytest
from coins import Biased, CoinTask, Fair, Troubled

from weigh import decide
from weigh.decision import Decision
from weigh.engine import Limits
from weigh.engine.local import LocalEngine


def toss(folder: Path, how: str) -> Decision:
    engine = LocalEngine(Limits(seconds=3 if how == "hang" else 60, memory_mb=350))
    return decide(
        "coins:Coins", CoinTask(), options=[Fair(), Biased(p=0.75), Troubled(how=how)],
        ledger=folder / "l.db", records=None, engine=engine,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("raise", "failed: RuntimeError: the coin is bent (coins.py:"),
        ("exit", "failed: the worker ended with exit status 9"),
        ("kill", "failed: the worker was killed by signal 9"),
        ("hang", "timeout: no answer within 3 s"),
        ("leak", "failed: used "),
        ("unfit", "unfit: this coin is for another table"),
    ],
)
def test_trouble_is_recorded_and_the_race_goes_on(tmp_path: Path, how: str, reason: str) -> None:
    decision = toss(tmp_path, how)
    trouble = next(s for s in decision.standings if s.option.startswith("troubled"))
    assert trouble.outcome == "failed" and trouble.why.startswith(reason)
    assert decision.chosen == "biased:p=0.75"
