"""`make bench-decoding`: what is kept, and how figures are made of it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks import decoding
from weigh.scale.interval import Interval

ROW = {"seconds": 2.0, "tokens": 24, "same": 24}


def rows(count: int, factor: float) -> list[dict[str, dict[str, float]]]:
    return [{"slow": {**ROW, "seconds": factor * (1 + 0.01 * (place % 5))}, "fast": {**ROW, "seconds": 1.0}}
            for place in range(count)]  # fmt: skip


def test_ratios_are_of_whole_answers_in_the_same_rounds() -> None:
    given = [*rows(40, 2.5), {"slow": {**ROW, "tokens": 4, "seconds": 99.0}, "fast": ROW}, {"fast": ROW}]
    found = decoding.ratio(given, "slow", "fast", 24)
    assert found.n == 40 and 2.5 <= found.low <= found.estimate <= found.high <= 2.6


def test_one_other_token_in_one_answer_is_not_identical() -> None:
    assert decoding.identical([{"a": ROW}, {}], "a")
    assert not decoding.identical([{"a": ROW}, {"a": {**ROW, "same": 23}}], "a")


def test_what_is_not_bounded_is_null_in_json() -> None:
    found = Interval(0.0, math.inf, 2.0, 3, 0.05, "m", False, "a")
    assert json.dumps(decoding._told("x", found)) == '{"x": 2.0, "x_low": 0.0, "x_high": null}'


def test_a_round_that_was_cut_off_is_measured_again(tmp_path: Path) -> None:
    kept = decoding.Kept(tmp_path, 1)
    kept.add({"a": ROW})
    with kept.path.open("a") as file:
        file.write('{"a": {"sec')
    assert kept.load() == [{"a": ROW}]


def test_what_cannot_be_measured_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["decoding", "--timed", "3"])
    with pytest.raises(SystemExit) as ended:
        decoding.main()
    assert ended.value.code == 2 and "argument --timed: 3 is too small; type 30 or more" in capsys.readouterr().err
