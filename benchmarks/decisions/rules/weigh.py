"""weigh: its race, with a share of the exhaustive measurements to spend, and fresh blocks for what it reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.decisions.asked import Array, Asked, Meter, Shipped
from weigh.scale.race import Race

SHARE = 0.17
FRESH = 20


def decide(asked: Asked, meter: Meter, seed: int) -> Shipped:
    """Race, ship the best that is certified, and measure it again."""
    race = Race(
        asked.options,
        asked.baseline,
        tuple(asked.gauges.values()),
        asked.limits,
        asked.objective,
        asked.alpha,
        0.0,
        blocks=asked.blocks,
        room=int(SHARE * asked.blocks * len(asked.options)),
    )
    race.know({option: {gauge: of[option] for gauge, of in asked.exact.items()} for option in asked.options})
    while not race.settled():
        block, names = race.next()
        race.add(block, meter.measure(block, names))
        race.judge(block)
    certified = [name for name in race.live() if race.feasible(name)]
    chosen = min(certified, key=race.rank, default=asked.baseline)
    return Shipped(chosen, bool(certified), _again(asked, meter, race, chosen))


def _again(asked: Asked, meter: Meter, race: Race, chosen: str) -> dict[str, float]:
    """The option that is shipped against the baseline, on blocks that the race did not use; the used ones count for
    what they are of a finite set."""
    told: dict[str, float] = {}
    names = list(dict.fromkeys((chosen, asked.baseline)))
    used = min(len(race.runners[name].blocks) for name in names)
    fresh = [meter.measure(block, names) for block in range(used, min(used + FRESH, asked.blocks))]
    for gauge, made in asked.gauges.items():
        if made.kind == "mean" and (fresh or used):
            before = _mean(race.runners[chosen].values, race.runners[asked.baseline].values, gauge, used)
            after = float(np.mean([of[chosen][gauge] - of[asked.baseline][gauge] for of in fresh])) if fresh else before
            part = used / asked.blocks if made.population else 0.0
            told[gauge] = part * before + (1.0 - part) * after
    return told


def _mean(mine: Mapping[str, Sequence[Array]], theirs: Mapping[str, Sequence[Array]], gauge: str, blocks: int) -> float:
    if not blocks:
        return 0.0
    return float(np.mean(np.concatenate(mine[gauge][:blocks]) - np.concatenate(theirs[gauge][:blocks])))
