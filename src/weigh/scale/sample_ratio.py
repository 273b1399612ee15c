"""Whether units went to arms in the shares that were planned: a test that may be looked at after every unit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self, final

CONCENTRATION = 10_000.0
"""Weight of the planned shares in the mixture: it is most sensitive to shares that stray by about one point."""


@final
class SampleRatio:
    """Evidence that units do not go to the arms in the planned shares, valid at any time.

    Under the planned shares the evidence is a martingale that starts at 1: it ever reaches 1 / alpha with a chance
    of at most alpha, however often one looks. A chi-squared test at .001 that is looked at every hour for four weeks
    (672 times) is wrong in 2.4 % of sound experiments. Each stage of a rollout has its own counts and its own planned
    shares, and the evidence of all stages adds up.

    Source: Lindon and Malek, Anytime-valid inference for multinomial count data, NeurIPS 2022 (arXiv 2011.03567).

    >>> ratio = SampleRatio()
    >>> ratio.add("1 %", (5000, 5050), (0.5, 0.5))
    >>> sound = ratio.evidence
    >>> ratio.add("5 %", (25_000, 26_000), (0.5, 0.5))
    >>> sound < 0, ratio.evidence > math.log(1000)
    (True, True)
    """

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, ...]] = {}
        self._shares: dict[str, tuple[float, ...]] = {}

    def add(self, stage: str, counts: Sequence[int], shares: Sequence[float]) -> None:
        """Further units of one stage, one count an arm, and the shares that were planned for it.

        Raises:
            ValueError: counts are negative, shares are no shares, or are others than the stage had before.
        """
        given, planned = tuple(int(one) for one in counts), tuple(float(one) for one in shares)
        if len(given) != len(planned) or len(given) < 2 or min(given) < 0:
            raise ValueError(
                f"the counts {list(counts)} for the shares {list(shares)}: give one count from 0 on an arm"
            )
        if min(planned) <= 0 or abs(sum(planned) - 1) > 1e-6:
            raise ValueError(f"the shares {list(shares)} are none: give one above 0 an arm, adding up to 1")
        if self._shares.setdefault(stage, planned) != planned:
            raise ValueError(
                f"stage {stage} had the shares {list(self._shares[stage])}, now {list(shares)}: name a new stage"
            )
        known = self._counts.get(stage, (0,) * len(given))
        self._counts[stage] = tuple(a + b for a, b in zip(known, given, strict=True))

    @property
    def evidence(self) -> float:
        """Log of the evidence against the planned shares."""
        return sum(log_bayes_factor(self._counts[stage], self._shares[stage]) for stage in self._counts)

    def counts(self) -> tuple[int, ...]:
        """Units by arm, all stages together; empty before the first."""
        return tuple(map(sum, zip(*self._counts.values(), strict=True)))

    def state(self) -> dict[str, Any]:
        """All that it knows, as JSON has it."""
        return {stage: [list(counts), list(self._shares[stage])] for stage, counts in self._counts.items()}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """From `state()`."""
        made = cls()
        for stage, (counts, shares) in state.items():
            made.add(stage, counts, shares)
        return made


def log_bayes_factor(counts: Sequence[int], shares: Sequence[float], concentration: float = CONCENTRATION) -> float:
    """Log evidence against the planned shares: Dirichlet(concentration * shares) over the shares themselves."""
    total = sum(counts)
    log = math.lgamma(concentration) - math.lgamma(concentration + total)
    for count, share in zip(counts, shares, strict=True):
        prior = concentration * share
        log += math.lgamma(prior + count) - math.lgamma(prior) - count * math.log(share)
    return log
