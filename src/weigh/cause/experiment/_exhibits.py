"""What the report shows: what each analysis finds, and what it only thinks it finds, at one look and at many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weigh.cause.experiment._bench import EACH, Replay, stopped
from weigh.choice import Curves, Exhibit, Line, Table
from weigh.scale.figures import number
from weigh.scale.interval import wilson

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.cause.experiment import Analysis
    from weigh.cause.experiment._arms import Readings

ROUNDS, ROUNDS_BY_UNIT = 20, 5
GRID = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
WANTED = 0.8
COLUMNS = (
    "analysis", "false, 1 look", "false, daily", "power, 1 look", "power, daily", "days", "finds 80 % of", "claims"
)  # fmt: skip


@dataclass(slots=True)
class Tally:
    """What one analysis did over experiments.

    Attributes:
        n: experiments.
        false_at_end: experiments without an effect in which one was found by a single look at the end.
        false_by_day: the same, looking daily, up to each day (where nobody can look daily: at the end).
        found_at_end, found_daily: experiments in which the planted effect was found, with its sign.
        days: the day on which it was found, looking daily, by experiment in which it was.
        claimed: the estimate when it was found, under the task's looks, in true effects.
        power: of `power_n` experiments, those in which an effect was found under the task's looks, by size (`sizes`).
    """

    n: int
    false_at_end: int
    false_by_day: NDArray[np.int64]
    found_at_end: int
    found_daily: int
    days: NDArray[np.int64]
    claimed: NDArray[np.float64]
    power: NDArray[np.int64]
    power_n: int

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        import numpy as np

        return Tally(
            self.n + other.n, self.false_at_end + other.false_at_end, self.false_by_day + other.false_by_day,
            self.found_at_end + other.found_at_end, self.found_daily + other.found_daily,
            np.concatenate([self.days, other.days]), np.concatenate([self.claimed, other.claimed]),
            self.power + other.power, self.power_n + other.power_n,
        )  # fmt: skip


def exhibits(bench: Replay, subjects: Mapping[str, Any]) -> Sequence[Exhibit]:
    """Table of errors and power, curves of both, and what the history is like."""
    import numpy as np

    tallies: dict[str, Tally] = {}
    for index, seed in enumerate(np.random.SeedSequence([bench.seed, 4]).generate_state(ROUNDS)):
        for spec, subject in subjects.items():
            if index < (ROUNDS_BY_UNIT if subject.by_unit else ROUNDS):
                made = _round(bench, subject, int(seed), grid=not subject.by_unit or index == 0)
                tallies[spec] = tallies[spec].plus(made) if spec in tallies else made
    daily = [] if bench.history.spread else [false_curve(bench, tallies)]
    return [summary(bench, tallies), *daily, power_curve(bench, tallies), facts(bench)]


def sizes(bench: Replay) -> list[float]:
    """Effects of the power curve, in planted effects: those that the metric can have."""
    low, high = bench.history.plant.reach
    return [times for times in GRID if low <= times * bench.effect <= high]


def _round(bench: Replay, subject: Analysis, seed: int, grid: bool) -> Tally:
    """One block of experiments."""
    import numpy as np

    alpha = bench.task.alpha

    def read(daily: bool) -> tuple[Readings, Readings]:
        planted = bench.planted(seed, daily, bench.effect)[0]
        return subject.analyse(bench.experiments(seed, daily), alpha), subject.analyse(planted, alpha)

    once, sign = read(daily=False), np.sign(bench.effect)
    daily = once if bench.history.spread else read(daily=True)
    seen, day = stopped(daily[1])
    asked = daily if bench.daily else once
    found, last = stopped(asked[1])
    right = found == sign
    truth = bench.planted(seed, bench.daily, bench.effect)[1]
    return Tally(
        n=EACH, false_at_end=int((once[0].found() != 0).sum()),
        false_by_day=((daily[0].found() != 0).cumsum(axis=1) > 0).sum(axis=0),
        found_at_end=int((once[1].found()[:, 0] == sign).sum()),
        found_daily=int((seen == sign).sum()), days=day[seen == sign] + 1,
        claimed=(asked[1].effect / truth)[right, last[right]],
        power=np.array(_powers(bench, subject, seed, asked) if grid else [0] * len(sizes(bench))), power_n=EACH * grid,
    )  # fmt: skip


def _powers(bench: Replay, subject: Analysis, seed: int, read: tuple[Readings, Readings]) -> list[int]:
    """In how many experiments an effect of each size is found, with its sign, under the task's looks.

    Reading again is spared where the effect is added to each unit and the analysis is known to move with it.
    """
    import numpy as np

    sign = np.sign(bench.effect)
    moves = bench.history.plant.kind == "add" and read[0].moves_with(read[1], bench.effect)
    found = []
    for times in sizes(bench):
        effect = times * bench.effect
        if moves or not effect:
            made = read[0].shifted(effect)
        else:
            made = subject.analyse(bench.planted(seed, bench.daily, effect)[0], bench.task.alpha)
        found.append(int((stopped(made)[0] == sign).sum()))
    return found


def summary(bench: Replay, tallies: Mapping[str, Tally]) -> Table:
    """One row an analysis."""
    import numpy as np

    rows = [
        (
            spec, share(made.false_at_end, made.n), share(int(made.false_by_day[-1]), made.n),
            share(made.found_at_end, made.n), share(made.found_daily, made.n),
            float(np.median(made.days)) if len(made.days) else None, smallest(bench, made),
            f"{np.median(made.claimed):.2f} x" if len(made.claimed) else None,
        )
        for spec, made in tallies.items()
    ]  # fmt: skip
    shown = [0, 1, 3, 6, 7] if bench.history.spread else range(len(COLUMNS))
    fewer = {made.n for made in tallies.values()} - {ROUNDS * EACH}
    return Table(
        title=f"{ROUNDS * EACH:,} simulated experiments of {bench.task.days} days, at alpha {bench.task.alpha:.3g}",
        columns=tuple(COLUMNS[index] for index in shown),
        rows=tuple(tuple(row[index] for index in shown) for row in rows),
        note="False: experiments without an effect in which one is found; power: those with a planted effect of "
        f"{number(bench.effect * bench.history.deviation)} in {bench.task.metric} in which it is found; with 95 % "
        "intervals (Wilson). Days: to the finding, median, looking daily. Finds 80 % of: the smallest effect that is "
        f"found in 80 % of experiments ({_looks(bench)}). Claims: the estimate where the effect is found over the true "
        f"effect, median ({_looks(bench)})."
        + (f" Analyses that read unit by unit: {min(fewer)} experiments." if fewer else ""),
    )  # fmt: skip


def false_curve(bench: Replay, tallies: Mapping[str, Tally]) -> Curves:
    """How false positives pile up when one looks every day."""
    days = tuple(float(day + 1) for day in range(bench.task.days))
    return Curves(
        title="False positives when the experiment is looked at every day",
        x="day", y="experiments without an effect in which one was found so far", level=bench.task.alpha,
        lines=tuple(_line(spec, days, made.false_by_day.tolist(), made.n) for spec, made in tallies.items()),
        note="The level is the promised error. 95 % intervals (Wilson), for each day by itself.",
    )  # fmt: skip


def power_curve(bench: Replay, tallies: Mapping[str, Tally]) -> Curves:
    """What would be found of larger and smaller effects."""
    unit = bench.effect * bench.history.deviation
    effects = tuple(times * unit for times in sizes(bench))
    lines = [_line(spec, effects, made.power.tolist(), made.power_n) for spec, made in tallies.items()]
    return Curves(
        title=f"Effects found, by their size ({_looks(bench)})", x=f"true effect ({bench.task.metric})",
        y="experiments in which it is found, with its sign", lines=tuple(lines),
        note="At 0 nothing should be found. 95 % intervals (Wilson), for each effect by itself.",
    )  # fmt: skip


PLANTED = {
    "add": "added to every treated unit",
    "scale": "every treated unit multiplied",
    "convert": "some treated units converted",
}


def facts(bench: Replay) -> Table:
    """The history in numbers."""
    history, task = bench.history, bench.task
    rows: list[tuple[str, str | float | int | None]] = [
        ("units that experiments are drawn from", int(history.sizes.sum())),
        (f"periods of {task.days} days" if task.time else "periods", len(history.counts)),
        ("units in an experiment", task.units or round(float(history.sizes.mean()))),
        (f"mean of {task.metric}", history.mean),
        (f"standard deviation of {task.metric}", history.deviation),
        ("planted effect", bench.effect * history.deviation),
        ("how it is planted", f"{history.plant.kind}: {PLANTED[history.plant.kind]}"),
    ]
    if history.plant.kind == "convert":
        rows.append(("units that can convert and do", f"{history.plant.chance(bench.effect):.2%}"))
    if history.correlation is not None:
        rows.append((f"correlation with {task.covariate}", round(history.correlation, 4)))
        rows.append(("variance that CUPED takes away", f"{history.correlation**2:.1%}"))
    note = f"left out: {history.left_out}" if history.left_out else "nothing was left out"
    return Table(title="The history", columns=("fact", "value"), rows=tuple(rows), note=note)


def smallest(bench: Replay, made: Tally) -> float | None:
    """The effect that is found in `WANTED` of experiments, interpolated on the grid; None beyond it."""
    at, shares = sizes(bench), [found / made.power_n for found in made.power]
    for i in range(1, len(at)):
        if shares[i] >= WANTED > shares[i - 1]:
            part = (WANTED - shares[i - 1]) / (shares[i] - shares[i - 1])
            times = at[i - 1] + part * (at[i] - at[i - 1])
            return float(f"{times * abs(bench.effect) * bench.history.deviation:.3g}")
    return None


def _looks(bench: Replay) -> str:
    return "daily looks" if bench.daily else "one look at the end"


def _line(name: str, x: Sequence[float], found: Sequence[int], n: int) -> Line:
    low, high = zip(*(wilson(count, n) for count in found))
    return Line(name=name, x=tuple(x), y=tuple(count / n for count in found), low=low, high=high)


def share(count: int, n: int) -> str:
    """A share in percent with its interval, as text."""
    low, high = wilson(count, n)
    return f"{count / n:.1%} [{100 * low:.1f}, {100 * high:.1f}]"
