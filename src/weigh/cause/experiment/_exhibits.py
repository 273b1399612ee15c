"""What the report shows: what each analysis finds, and what it only thinks it finds, at one look and at many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weigh.cause.experiment._bench import EACH, Replay, stopped
from weigh.choice import Curves, Exhibit, Line, Table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.cause.experiment import Analysis

ROUNDS = 5
GRID = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
WANTED = 0.8


@dataclass(slots=True)
class Tally:
    """What one analysis did over all experiments of the exhibits.

    Attributes:
        false_at_end: experiments without an effect in which one was found by a single look at the end.
        false_by_day: the same, looking daily, up to each day.
        found_at_end, found_daily: experiments in which the planted effect was found, with its sign.
        days: the day on which it was found, looking daily, by experiment in which it was.
        claimed: the estimate on that day, in planted effects.
        power: experiments in which an effect was found under the task's looks, by its size in planted effects (`GRID`).
        n: experiments.
    """

    false_at_end: int
    false_by_day: NDArray[np.int64]
    found_at_end: int
    found_daily: int
    days: NDArray[np.int64]
    claimed: NDArray[np.float64]
    power: NDArray[np.int64]
    n: int


def exhibits(bench: Replay, subjects: Mapping[str, Any]) -> Sequence[Exhibit]:
    """Table of errors and power, curves of both, and what the history is like."""
    import numpy as np

    rounds: dict[str, list[tuple[Any, ...]]] = {spec: [] for spec in subjects}
    for seed in np.random.SeedSequence([bench.seed, 4]).generate_state(ROUNDS):
        for spec, subject in subjects.items():
            rounds[spec].append(_round(bench, subject, int(seed)))
    tallies = {spec: tally(made) for spec, made in rounds.items()}
    return [summary(bench, tallies), false_curve(bench, tallies), power_curve(bench, tallies), facts(bench)]


def tally(rounds: Sequence[tuple[Any, ...]]) -> Tally:
    """The sum of what `_round` counted."""
    import numpy as np

    false_at_end, false_by_day, found_at_end, found_daily, days, claimed, power = (list(part) for part in zip(*rounds))
    return Tally(
        sum(false_at_end), np.sum(false_by_day, axis=0), sum(found_at_end), sum(found_daily),
        np.concatenate(days), np.concatenate(claimed), np.sum(power, axis=0), len(rounds) * EACH,
    )  # fmt: skip


def _round(bench: Replay, subject: Analysis, seed: int) -> tuple[Any, ...]:
    """The counts of one block of experiments, in the order of `Tally`."""
    import numpy as np

    alpha, sign = bench.task.alpha, np.sign(bench.effect)
    data = {daily: bench.experiments(seed, daily) for daily in (True, False)}
    without = {daily: subject.analyse(data[daily], alpha) for daily in data}
    planted = {daily: subject.analyse(data[daily].planted(bench.effect), alpha) for daily in data}
    seen, day = stopped(planted[True])
    right = seen == sign
    asked, moves = bench.daily, without[bench.daily].moves_with(planted[bench.daily], bench.effect)

    def found(effect: float) -> int:
        made = without[asked].shifted(effect) if moves else subject.analyse(data[asked].planted(effect), alpha)
        return int((stopped(made)[0] == sign).sum())

    return (
        int((without[False].found() != 0).sum()),
        ((without[True].found() != 0).cumsum(axis=1) > 0).sum(axis=0),
        int((planted[False].found()[:, 0] == sign).sum()),
        int(right.sum()),
        day[right] + 1,
        planted[True].effect[right, day[right]] / bench.effect,
        [found(times * bench.effect) for times in GRID],
    )


def summary(bench: Replay, tallies: Mapping[str, Tally]) -> Table:
    """One row an analysis."""
    import numpy as np

    smallest_found = f"smallest effect found 80 % of the time ({bench.task.metric}, {_looks(bench)})"
    rows = [
        (
            spec, share(made.false_at_end, made.n), share(int(made.false_by_day[-1]), made.n),
            share(made.found_at_end, made.n), share(made.found_daily, made.n),
            float(np.median(made.days)) if len(made.days) else None, smallest(bench, made),
            round(float(np.median(made.claimed)), 2) if len(made.claimed) else None,
        )
        for spec, made in tallies.items()
    ]  # fmt: skip
    return Table(
        title=f"{ROUNDS * EACH} simulated experiments of {bench.task.days} days, promised error {bench.task.alpha:.3g}",
        columns=(
            "analysis", "false positives, one look at the end", "false positives, daily looks",
            "power, one look at the end", "power, daily looks", "median days to a finding, daily looks",
            smallest_found, "claimed effect / true effect, daily looks",
        ),
        rows=tuple(rows),
        note=f"planted effect {bench.effect * bench.history.deviation:.4g} in {bench.task.metric}; "
        "shares with 95 % intervals (Wilson)",
    )  # fmt: skip


def false_curve(bench: Replay, tallies: Mapping[str, Tally]) -> Curves:
    """How false positives pile up when one looks every day."""
    days = tuple(float(day + 1) for day in range(bench.task.days))
    lines = [_line(spec, days, made.false_by_day.tolist(), made.n) for spec, made in tallies.items()]
    promised = Line(name="promised", x=days, y=(bench.task.alpha,) * len(days))
    return Curves(
        title="False positives when the experiment is looked at every day",
        x="day", y="experiments without an effect in which one was found so far", lines=(*lines, promised),
        note="95 % intervals (Wilson), for each day by itself",
    )  # fmt: skip


def power_curve(bench: Replay, tallies: Mapping[str, Tally]) -> Curves:
    """What would be found of larger and smaller effects."""
    unit = bench.effect * bench.history.deviation
    effects = tuple(times * unit for times in GRID)
    lines = [_line(spec, effects, made.power.tolist(), made.n) for spec, made in tallies.items()]
    return Curves(
        title=f"Effects found, by their size ({_looks(bench)})", x=f"true effect ({bench.task.metric})",
        y="experiments in which it is found, with its sign", lines=tuple(lines),
        note="at 0 nothing should be found; 95 % intervals (Wilson), for each effect by itself",
    )  # fmt: skip


def facts(bench: Replay) -> Table:
    """The history in numbers."""
    history, task = bench.history, bench.task
    rows: list[tuple[str, str | float | int | None]] = [
        ("units that experiments are drawn from", int(history.sizes.sum())),
        (f"periods of {task.days} days" if task.time else "periods", len(history.counts)),
        ("units in an experiment", task.units or round(float(history.sizes.mean()))),
        (f"mean of {task.metric}", history.mean),
        (f"standard deviation of {task.metric}", history.deviation),
    ]
    if history.correlation is not None:
        rows.append((f"correlation with {task.covariate}", round(history.correlation, 4)))
        rows.append(("variance that CUPED takes away", f"{history.correlation**2:.1%}"))
    note = f"left out: {history.left_out}" if history.left_out else "nothing was left out"
    return Table(title="The history", columns=("fact", "value"), rows=tuple(rows), note=note)


def smallest(bench: Replay, made: Tally) -> float | None:
    """The effect that is found in `WANTED` of experiments, interpolated on the grid; None beyond it."""
    shares = [found / made.n for found in made.power]
    for i in range(1, len(GRID)):
        if shares[i] >= WANTED > shares[i - 1]:
            part = (WANTED - shares[i - 1]) / (shares[i] - shares[i - 1])
            times = GRID[i - 1] + part * (GRID[i] - GRID[i - 1])
            return float(f"{times * abs(bench.effect) * bench.history.deviation:.3g}")
    return None


def _looks(bench: Replay) -> str:
    return "daily looks" if bench.daily else "one look at the end"


def _line(name: str, x: Sequence[float], found: Sequence[int], n: int) -> Line:
    low, high = zip(*(bounds(count, n) for count in found))
    return Line(name=name, x=tuple(x), y=tuple(count / n for count in found), low=low, high=high)


def share(count: int, n: int) -> str:
    """A share with its interval, as text."""
    low, high = bounds(count, n)
    return f"{count / n:.1%} [{low:.1%}, {high:.1%}]"


def bounds(count: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The Wilson interval of a share, at 95 % by default.

    >>> [round(bound, 4) for bound in bounds(5, 100)]
    [0.0215, 0.1118]
    """
    middle = (count + z * z / 2) / (n + z * z)
    half = z * math.sqrt(count * (n - count) / n + z * z / 4) / (n + z * z)
    return max(0.0, middle - half), min(1.0, middle + half)
