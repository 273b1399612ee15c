"""Drifts of known kind and size, planted in a window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weigh.choice import UsageError
from weigh.monitor.drift import KINDS, DriftTask, Kind
from weigh.monitor.drift._sample import Sample
from weigh.monitor.drift._tilt import Tilt, tilt

if TYPE_CHECKING:
    import numpy as np

    from weigh.monitor.drift._sample import Floats

TIES = 0.01
"""Where more than this share of the rows have one value, a drift makes values more frequent instead of moving all."""
_SHARES = ("mix", "missing", "correlation")
_NEEDED = {
    "mean": "a column of numbers",
    "scale": "a column of numbers with three values",
    "mix": "a category with two levels",
    "missing": "a column",
    "correlation": "two columns",
}


@dataclass(frozen=True, slots=True)
class Planter:
    """Plants the drifts of a task.

    Attributes:
        task: says how large they are.
        columns: for each kind that is planted, the columns that can have it: those of numbers first.
        mean: of each number column of the history.
        deviation: of each number column of the history.
        tilts: what a drift of the kind mean or scale does to a number column in which many rows share a value.
    """

    task: DriftTask
    columns: Mapping[Kind, list[int]]
    mean: Floats
    deviation: Floats
    tilts: Mapping[tuple[Kind, int], Tilt]

    @classmethod
    def of(cls, task: DriftTask, history: Sample) -> Planter:
        """For the kinds that the task names, or for all that its columns allow.

        Raises:
            UsageError: a kind is named that the columns do not allow, or a share of the rows is more than all of them.
        """
        import numpy as np

        counts = [np.unique(column[~np.isnan(column)], return_counts=True)[1] for column in history.numbers]
        able = _able(history, [len(one) for one in counts])
        for kind in task.kinds:
            if not able[kind]:
                left = ", ".join(other for other in KINDS if able[other])
                raise UsageError(
                    f"you ask for drifts of the kind '{kind}', which need {_NEEDED[kind]} among those watched; "
                    f"type kinds from: {left}"
                )
        kinds = task.kinds or tuple(kind for kind in KINDS if able[kind])
        for kind in kinds:
            if kind in _SHARES and task.size_of(kind) > 1:
                raise UsageError(
                    f"the size of '{kind}' is the share of the rows that drift, and {task.size_of(kind):g} is more "
                    f"than all; give it a size of its own, such as sizes={{'{kind}': 0.2}}"
                )
        deviation, tied = np.nanstd(history.numbers, axis=1, ddof=1), [one.max() > TIES * one.sum() for one in counts]
        moved: tuple[Kind, ...] = ("mean", "scale")
        tilts = {
            (kind, column): tilt(history.numbers[column], task.size_of(kind), scale=kind == "scale")
            for kind in moved
            if kind in kinds
            for column in able[kind]
            if tied[column]
        }
        return cls(task, {kind: able[kind] for kind in kinds}, np.nanmean(history.numbers, axis=1), deviation, tilts)

    def plant(self, window: Sample, kind: Kind, rng: np.random.Generator) -> Sample:
        """The window with a drift in randomly drawn columns; the window given is left as it was."""
        drifted = Sample(window.numbers.copy(), window.codes.copy(), window.levels, window.seed)
        able, size, numbers = self.columns[kind], self.task.size_of(kind), len(window.numbers)
        count = max(1, round(self.task.share_of_columns * len(able)))
        for column in rng.permutation(able)[:count]:
            values = drifted.numbers[column] if column < numbers else drifted.codes[column - numbers]
            if (kind, column) in self.tilts:
                values[:] = self.tilts[kind, column](values, rng)
            elif kind == "mean":
                values += size * self.deviation[column]
            elif kind == "scale":
                values += size * (values - self.mean[column])
            elif kind == "mix":
                level = rng.integers(1, window.levels[column - numbers])
                values[(rng.random(len(values)) < size) & (values > 0)] = level
            elif kind == "missing":
                values[rng.random(len(values)) < size] = float("nan") if column < numbers else 0
            else:
                _shuffle(values, size, rng)
        return drifted


def _able(history: Sample, values: Sequence[int]) -> dict[Kind, list[int]]:
    """Which columns can have a drift of each kind, by how many values each number column has.

    Where there are but two, the spread follows from the mean.
    """
    numbers = list(range(len(history.numbers)))
    wide = [place for place, count in enumerate(values) if count > 2]
    mixed = [len(numbers) + place for place, levels in enumerate(history.levels) if levels > 2]
    every = list(range(len(numbers) + len(history.codes)))
    return {
        "mean": numbers,
        "scale": wide,
        "mix": mixed,
        "missing": every,
        "correlation": every if len(every) > 1 else [],
    }


def _shuffle(values: Any, share: float, rng: np.random.Generator) -> None:
    """Give a share of the rows each other's values."""
    import numpy as np

    rows = np.flatnonzero(rng.random(len(values)) < share)
    values[rows] = values[rng.permutation(rows)]
