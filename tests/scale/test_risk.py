"""How the error rate is shared: parts sum to one, a line moves up, and violators are rarely shipped."""

from __future__ import annotations

import numpy as np
import pytest

from weigh.scale.gauge import Gauge, Limit
from weigh.scale.interval import Interval
from weigh.scale.race import Race
from weigh.scale.risk import Purse, Shares, clipped

HEADS, SIZE = Gauge("heads", "mean", "higher", population=1500), Gauge("size", "exact", "lower")


@pytest.mark.parametrize("claimants", [1, 2, 3, 4, 40])
def test_the_parts_of_any_set_of_nulls_never_exceed_one(claimants: int) -> None:
    purse = Purse(claimants)
    names = [f"o{i}" for i in range(claimants)]
    purse.draw(names[::2])
    for certified in (set(), set(names[:2]), set(names[: claimants - 1])):
        nulls = [name for name in names if name not in certified]
        assert sum(purse.start + purse.part(name, certified) for name in nulls) <= 1 + 1e-9


def test_the_line_moves_up_and_is_drawn_once() -> None:
    purse = Purse(10)
    purse.draw(["a", "b", "c"])
    purse.draw(["c"])
    assert purse.part("a", ()) > purse.part("b", ()) > purse.part("c", ()) > 0
    assert purse.part("c", {"a", "b"}) == purse.part("a", ()) and purse.part("z", ()) == 0


def test_shares_cover_alpha() -> None:
    assert all(sum(Shares.of(limits, random)) == 1 for limits in (0, 1, 3) for random in (False, True))


def test_an_interval_does_not_contradict_what_is_certified() -> None:
    now = Interval(0.1, 0.4, 0.2, 50, 0.05, "", True, "")
    limit = Limit("heads", ">=", 0.15)
    assert clipped(now, limit, True, False).low == 0.15 and limit.met(clipped(now, limit, True, False))
    assert limit.broken(clipped(now, Limit("heads", ">=", 0.3), False, True)) is False
    assert Limit("heads", ">=", 0.3).broken(clipped(now, Limit("heads", ">=", 0.3), False, True))


def test_violators_by_one_row_are_shipped_at_most_alpha_of_the_time() -> None:
    """The hardest case: ten options, each breaking the floor by a single row of 1,500, most of which are read."""
    shipped, runs = 0, 120
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        table = {f"o{i}": rng.permutation(np.arange(1500) < 1199).astype(float) for i in range(10)}
        table["big"] = np.ones(1500)
        race = Race(
            list(table), "big", [HEADS, SIZE], [Limit("heads", ">=", 0.8)], "size", 0.1, 0.0, blocks=30, room=165
        )
        race.know({name: {"size": float(i)} for i, name in enumerate(table)})
        while not race.settled():
            block, names = race.next()
            race.add(block, {name: {"heads": table[name][50 * block : 50 * block + 50]} for name in names})
            race.judge(block)
        shipped += any(race.feasible(name) for name in table if name != "big")
    assert shipped <= 18, "12 of 120 expected at most, 1.8 sigma above"
