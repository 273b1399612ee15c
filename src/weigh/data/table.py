"""A user's table, from a file or from memory: read it lazily, name it by its content, keep a copy of it.

A *table* is a path (.parquet, .csv, .csv.gz, .feather, .arrow, .ipc), a polars or pandas or pyarrow table, anything
else that exports an Arrow stream, or a mapping from column names to values.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from weigh.data._csv import need_even
from weigh.data._open import from_memory, in_memory, open_file, open_parquet
from weigh.data.cache import temporary_in
from weigh.data.error import DataError, explained, need_columns

if TYPE_CHECKING:
    import polars as pl

__all__ = ["DataError", "Table", "batches", "fingerprint", "need_columns", "read", "scan", "scan_whole", "snapshot"]

Table: TypeAlias = Any
MISSING = ("", "NA", "N/A", "NaN", "null")
BATCH = 262_144


def scan(
    table: Table,
    columns: Sequence[str] | None = None,
    *,
    rows: tuple[int, int] | None = None,
    missing: Sequence[str] = MISSING,
) -> pl.LazyFrame:
    """A lazy view of a table: nothing is read but the file's kind and its beginning, for column names and types.

    Collect it with `engine="streaming"`; only the wanted columns and rows are then read, so a file may be larger
    than memory (except an Arrow *stream* file, which is read whole).

    Args:
        table: a path or an in-memory table (see the module's text); a pandas index is dropped.
        columns: the columns to keep, in this order; all by default.
        rows: `(start, stop)`, counted from 0, `stop` excluded, as in Python slices.
        missing: texts that stand for a missing value in a CSV file; other files are not touched.

    Raises:
        DataError: no such file, an unknown ending, a file that is not what its ending says, no such column.

    >>> scan({"distance": [1400, 1416, 1089], "dest": ["IAH", "IAH", "MIA"]}, ["dest"], rows=(1, 3)).collect().rows()
    [('IAH',), ('MIA',)]
    """
    if isinstance(table, (str, os.PathLike)):
        frame = open_file(Path(table), missing)
    else:
        frame = from_memory(table)
    if rows is not None:
        start, stop = rows
        if not 0 <= start <= stop:
            raise DataError(f"rows={rows}: the start must lie between 0 and the stop; write rows=(start, stop).")
        frame = frame.slice(start, stop - start)
    if columns is None:
        return frame
    need_columns(frame, columns)
    return frame.select(columns)


def scan_whole(
    table: Table,
    columns: Sequence[str] | None = None,
    *,
    rows: tuple[int, int] | None = None,
    missing: Sequence[str] = MISSING,
) -> pl.LazyFrame:
    """As `scan`, once every line of a CSV file has been seen to have as many values as the header (one pass).

    Raises:
        DataError: as `scan`; a line with more or fewer values, by its number.
    """
    frame = scan(table, columns, rows=rows, missing=missing)
    if isinstance(table, (str, os.PathLike)) and Path(table).name.lower().endswith((".csv", ".csv.gz")):
        need_even(Path(table))
    return frame


def read(
    table: Table,
    columns: Sequence[str] | None = None,
    *,
    rows: tuple[int, int] | None = None,
    missing: Sequence[str] = MISSING,
) -> pl.DataFrame:
    """The wanted columns and rows of a table, in memory. Arguments are those of `scan`, errors those of `scan_whole`.

    >>> read({"carrier": ["UA", "B6"]}).height
    2
    """
    with explained(table):
        return scan_whole(table, columns, rows=rows, missing=missing).collect(engine="streaming")


def batches(frame: pl.LazyFrame, size: int = BATCH) -> Iterator[pl.DataFrame]:
    """The rows of a lazy frame in order, at most about `size` at a time, each batch read when it is asked for."""
    with explained(frame):
        for batch in frame.collect_batches(chunk_size=size, maintain_order=True, lazy=True, engine="streaming"):
            for start in range(0, batch.height, size):
                yield batch.slice(start, size)


def fingerprint(table: Table, columns: Sequence[str] | None = None) -> str:
    """The content's name, `sha256:` and 64 hexadecimal digits; memory use does not grow with the table.

    A path without `columns` is named by its bytes (FIPS 180-4 SHA-256 of the file). Everything else is named by its
    values: names, types and the rows in order count; the order of columns, chunking, compression and the library
    that holds the table do not. So `fingerprint(path, columns)` equals `fingerprint(frame, columns)` when the
    file holds that frame.

    >>> fingerprint({"a": [1, 2], "b": [3, 4]}) == fingerprint({"b": [3, 4], "a": [1, 2]})
    True
    >>> fingerprint({"a": [1, 2]}) == fingerprint({"a": [2, 1]})
    False
    """
    if columns is None and isinstance(table, (str, os.PathLike)):
        scan(table)
        with Path(table).open("rb") as file:
            return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    from weigh.data._digest import digest

    return "sha256:" + digest(scan(table, columns))


def snapshot(table: Table, folder: str | os.PathLike[str]) -> Path:
    """Keep a table as Parquet under a name made of its content, so that a child process can be told its path.

    The file appears whole or not at all; the same content is kept once. A lazy frame is evaluated once and streamed.

    Returns:
        `folder/sha256-<64 hexadecimal digits>.parquet`, where the digits are those of `fingerprint(frame)`.

    >>> import tempfile
    >>> frame = {"a": [1, 2]}
    >>> kept = snapshot(frame, tempfile.mkdtemp())
    >>> kept.stem.replace("-", ":") == fingerprint(frame)
    True
    """
    from weigh.data._digest import digest

    frame, home = scan(table), Path(folder)
    if in_memory(table):
        known = home / f"sha256-{digest(frame)}.parquet"
        if known.exists():
            return known
    with temporary_in(home) as temporary, explained(table):
        frame.sink_parquet(temporary)
        target = home / f"sha256-{digest(open_parquet(temporary))}.parquet"
        os.replace(temporary, target)
    return target
