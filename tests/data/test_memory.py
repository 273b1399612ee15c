"""A table larger than the memory that there is: it is checked, named and filtered all the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from weigh.data import fingerprint

ROWS, COLUMNS, ROOM = 4_000_000, 21, 500_000_000
SCRIPT = f"""
import os, resource, sys
os.environ["POLARS_MAX_THREADS"] = "2"
import polars as pl
from weigh.data import Column, Contract, fingerprint, read, require, scan
path = sys.argv[1]
scan(path).head(10).collect(engine="streaming")
with open("/proc/self/statm") as file:
    used = int(file.read().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (used + {ROOM},) * 2)
frame = require(path, numeric=["a", "b", "c", "d"], label="b", sorted_by="t")
print(frame.filter(pl.col("a") > 12).select(pl.len()).collect(engine="streaming").item())
number = Column(type="number", min=0, max=11)
columns = dict(a=Column(type="integer"), b=number, c=number, t=Column(type="datetime"))
print(Contract(name="long", key=("a",), time="t", columns=columns).check(path))
print(fingerprint(path, ["b"]), flush=True)
read(path)
print("all of it fits")
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the size of a process is read as Linux tells it")
def test_what_is_read_lazily_needs_no_memory_for_the_whole(tmp_path: Path) -> None:
    path, row = tmp_path / "long.parquet", pl.int_range(ROWS)
    numbers = {"a": row, "b": (row % 7).cast(pl.Float64), "c": (row % 13).cast(pl.Float64), "d": row // 1000}
    whole = pl.LazyFrame().select(**numbers, t=(row // 9).cast(pl.Datetime("ms")))
    whole = whole.with_columns(pl.lit(0.5).alias(name) for name in "efghijklmnopqrsu")
    whole.sink_parquet(path, row_group_size=100_000, statistics=False)
    assert ROWS * COLUMNS * 8 > ROOM > path.stat().st_size
    ran = subprocess.run([sys.executable, "-c", SCRIPT, str(path)], capture_output=True, text=True, timeout=120)
    kept, title, broken, named = ran.stdout.splitlines()
    assert int(kept) == ROWS - 13
    assert title == "long: 1 violation in 4,000,000 rows"
    assert (
        f"at most 11, found 12.0, 12.0, 12.0, 12.0, 12.0, ... in rows 12, 25, 38, 51, 64, ... ({ROWS // 13:,} of"
        in broken
    )
    assert named == fingerprint(whole, ["b"])
    assert ran.returncode != 0 and "memory allocation" in ran.stderr
