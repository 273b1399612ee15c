"""A question family: every option measured on every unit, so that the truth of every question on it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weigh.scale.gauge import Gauge, Limit


@dataclass(frozen=True, slots=True)
class Family:
    """An exhaustive table with its questions.

    Attributes:
        name: as in ``fashion-mlp-compressed``.
        kind: ``compressed``, ``selection``, ``cadence``, ``drift`` or ``latency``.
        source: the data, the model and what was done to it, in a sentence.
        options: names, the baseline among them.
        baseline: what relative limits refer to.
        gauges: every measure, exact ones too.
        exact: exact gauge -> one number an option, shape (options,).
        values: random gauge -> what each unit gave, shape (units, options).
        objective: the gauge that is optimised.
        settings: at least nine sets of limits.
        serial: units are in time order and resemble their neighbours (timings): a draw takes runs of them, not single
            ones.
        block: units that a rule measures at once.
    """

    name: str
    kind: str
    source: str
    options: tuple[str, ...]
    baseline: str
    gauges: tuple[Gauge, ...]
    exact: Mapping[str, NDArray[np.float64]]
    values: Mapping[str, NDArray[np.float64]]
    objective: str
    settings: tuple[tuple[Limit, ...], ...]
    serial: bool = False
    block: int = 50

    @property
    def units(self) -> int:
        """Units of the table."""
        return len(next(iter(self.values.values())))
