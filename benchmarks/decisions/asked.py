"""What a decision rule is asked, what it may measure, and what it answers; the truth stays with whoever keeps score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from weigh.scale.gauge import Gauge, Limit

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: options with exact costs, limits, an objective and the risk that may be taken.

    Attributes:
        options: names.
        baseline: what relative limits refer to; it is among the options, and is what a rule falls back to.
        gauges: the measures by name, exact and random.
        exact: what is known without measuring: gauge -> one number an option.
        limits: what the option that is shipped must meet.
        objective: the gauge that is optimised.
        alpha: probability of shipping a violator, at most.
        units: units of the whole table (rows, rounds, trials); measuring all is `units * len(options)`.
        block: units in a block.
        blocks: how many blocks may be measured; `blocks * block` is about `units`.
    """

    options: tuple[str, ...]
    baseline: str
    gauges: Mapping[str, Gauge]
    exact: Mapping[str, Mapping[str, float]]
    limits: tuple[Limit, ...]
    objective: str
    alpha: float
    units: int
    block: int
    blocks: int


@dataclass(slots=True)
class Meter:
    """Measures options on blocks, paired (all options see the same units of a block), and counts.

    A block may be measured in several calls; one option on one block is counted and paid once.
    """

    draw: Callable[[int, Sequence[str]], Mapping[str, Mapping[str, Array]]]
    block: int
    seen: set[tuple[int, str]] = field(default_factory=set)

    def measure(self, block: int, options: Sequence[str]) -> Mapping[str, Mapping[str, Array]]:
        """The values of each random gauge, by option: arrays with one number a unit of the block."""
        self.seen |= {(block, option) for option in options}
        return self.draw(block, options)

    @property
    def used(self) -> int:
        """Units that were measured, over all options."""
        return len(self.seen) * self.block


@dataclass(frozen=True, slots=True)
class Shipped:
    """What a rule answers.

    Attributes:
        option: what to ship.
        certified: the rule stands behind every limit; False where it falls back to the baseline without a claim.
        reported: what the rule would tell the user about the shipped option: gauge -> its difference to the baseline
            for a mean, its ratio for times and quantiles. Empty where it reports nothing.
    """

    option: str
    certified: bool
    reported: Mapping[str, float] = field(default_factory=dict)


class Rule(Protocol):
    """One file under `benchmarks/decisions/rules`, or a path given to ``--rule``, holds a `decide` like this."""

    def __call__(self, asked: Asked, meter: Meter, seed: int) -> Shipped:
        """Measure as it likes, and decide."""
