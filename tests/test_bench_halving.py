"""The benchmark of halving runs, on simulated curves."""

from __future__ import annotations

from benchmarks.halving.__main__ import score
from benchmarks.halving.curves import alike, apart
from benchmarks.halving.rules import plain, to_the_end, weigh


def test_ours_keeps_the_best_and_its_twin_where_plain_halving_parts_them() -> None:
    curves = apart(options=9, rows=500)
    ours, theirs = score(weigh(), curves, 500, 10), score(plain, curves, 500, 10)
    assert not curves.behind().any() and len(curves.best) == 2
    assert ours["best_lost_rate"] == ours["twins_parted_rate"] == 0
    assert theirs["best_lost_rate"] + theirs["twins_parted_rate"] == 1, "one is taken of two"
    assert (
        theirs["budget_fraction"] < ours["budget_fraction"] < score(to_the_end, curves, 500, 1)["budget_fraction"] == 1
    )


def test_a_cap_answers_fewer_than_are_alike() -> None:
    curves = alike(options=6, rows=500)
    assert score(weigh(), curves, 500, 5)["answered"] == 6
    assert score(weigh(keep=True), curves, 500, 5)["twins_parted_rate"] == 1
