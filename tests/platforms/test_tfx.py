"""A TFX pipeline out of a table, from rows to a pushed model: its blessing held against weigh's verdict, for real."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from weigh.choice import UsageError
from weigh.deploy.tfx import judged, run, write

ROWS = 900


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The best answer to these rows is right on 85 % of them."""
    chance = np.random.default_rng(0)
    X, k = chance.normal(size=(ROWS, 3)).astype(np.float32), chance.integers(0, 5, ROWS)
    y = (3 * X[:, 0] - 2 * X[:, 1] + 0.5 * k > 1).astype(int)
    y = np.where(chance.random(ROWS) < 0.15, 1 - y, y)
    path = tmp_path_factory.mktemp("table") / "flights.csv"
    pl.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "k": k, "late": y}).write_csv(path)
    return path


@pytest.mark.parametrize(
    ("require", "blessed", "verdict"),
    [
        ("accuracy >= 0.70", True, "met"),
        ("accuracy >= 0.76", True, "not certain"),
        ("accuracy >= 0.95", False, "not met"),
    ],
)
def test_the_blessing_is_held_against_our_verdict(
    need, table: Path, require: str, blessed: bool, verdict: str, tmp_path: Path
) -> None:
    need("tfx")
    write(table, "late", require, tmp_path)
    found = run(tmp_path, require)
    assert (found.blessed, found.verdict) == (blessed, verdict), str(found)
    assert bool(found.pushed) == blessed, "the pusher follows the blessing"
    assert found.low <= found.accuracy <= found.high and 0.3 * ROWS < found.rows < 0.5 * ROWS
    told = str(found)
    assert ("TFX compares the point estimate with the floor" in told) == (verdict == "not certain")


def test_our_verdict_is_wrong_at_most_as_often_as_promised() -> None:
    """By simulation, at the floor itself: no verdict is right, so that each one is an error."""
    chance = np.random.default_rng(1)
    wrong = sum(
        judged((chance.random(400) < 0.8).astype(int).tolist(), 0.8, 0.1)[0] != "not certain" for _ in range(200)
    )
    assert wrong <= 2 * 0.1 * 200
    assert judged((chance.random(400) < 0.9).astype(int).tolist(), 0.8, 0.1)[0] == "met"
    assert judged((chance.random(400) < 0.7).astype(int).tolist(), 0.8, 0.1)[0] == "not met"


@pytest.mark.parametrize(
    ("label", "require", "says"),
    [
        ("lat", "accuracy >= 0.8", "has no column 'lat'"),
        ("a", "accuracy >= 0.8", "whole numbers from 0"),
        ("late", "p95 <= 3", "no floor that a TFX pipeline blesses by"),
        ("late", "accuracy >= baseline - 0.01", "no floor"),
    ],
)
def test_what_cannot_be_a_pipeline_is_refused(table: Path, label: str, require: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=says):
        write(table, label, require, tmp_path)
