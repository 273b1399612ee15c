"""Files and in-memory tables as lazy polars frames, after a look at whether they are what they claim to be."""

from __future__ import annotations

import codecs
import gzip
import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.data._csv import need_even, need_header
from weigh.data.error import DataError, first_line

if TYPE_CHECKING:
    import polars as pl

HEAD = 65_536
ENDINGS = (".parquet", ".csv", ".csv.gz", ".feather", ".arrow", ".ipc")
SIGNATURES = {
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow IPC file",
    b"\xff\xff\xff\xff": "an Arrow IPC stream",
    b"FEA1": "a Feather V1 file",
    b"\x1f\x8b": "a gzip file",
    b"PK\x03\x04": "a ZIP archive (an Excel workbook is one)",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF document",
    b"SQLite format 3": "a SQLite database",
    b"\x89HDF": "an HDF5 file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


def open_file(path: Path, missing: Sequence[str]) -> pl.LazyFrame:
    """A lazy frame over a file, opened by its ending, checked by its first and last bytes."""
    ending = _ending(path)
    _must_exist(path)
    try:
        if ending == ".parquet":
            return open_parquet(path)
        return _open_csv(path, ending, missing) if ending.startswith(".csv") else _open_arrow(path)
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"You gave {path}, whose inside cannot be read as {ending}: {first_line(error)}. "
            "Copy or write the file again, or rename it to what it is."
        ) from error


def open_parquet(path: Path) -> pl.LazyFrame:
    """A lazy frame over a Parquet file that is whole: both ends carry its signature and its footer can be read."""
    import polars as pl

    head, tail = _ends(path)
    if not head.startswith(b"PAR1"):
        raise _not_what_it_says(path, "Parquet", head)
    if tail != b"PAR1":
        raise DataError(f"You gave {path}, a Parquet file that is cut off (its footer is missing): copy it again.")
    frame = pl.scan_parquet(path, glob=False)
    frame.collect_schema()
    return frame


def in_memory(table: Any) -> bool:
    """Whether reading the table again costs next to nothing: it is neither a path nor a lazy query."""
    import polars as pl

    return not isinstance(table, (str, os.PathLike, pl.LazyFrame))


def from_memory(table: Any) -> pl.LazyFrame:
    """A lazy frame over an in-memory table; only pandas columns without Arrow support are copied."""
    import polars as pl

    if isinstance(table, pl.LazyFrame):
        return table
    try:
        if isinstance(table, (pl.DataFrame, Mapping)):
            return pl.DataFrame(table).lazy()
        if type(table).__module__.partition(".")[0] == "pandas" and hasattr(table, "columns"):
            return _from_pandas(table).lazy()
        if hasattr(table, "__arrow_c_stream__"):
            return pl.DataFrame(table).lazy()
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"You gave a {type(table).__name__} that does not make a table: {first_line(error)}. "
            "Give every column one type and the same number of rows."
        ) from error
    raise DataError(
        f"You gave a {type(table).__name__}, which is no table: give a path ({', '.join(ENDINGS)}), "
        "a polars, pandas or pyarrow table, or a mapping such as {'distance': [1400, 1416]}."
    )


def _from_pandas(table: Any) -> pl.DataFrame:
    """A pandas frame without its index, its NaN as null; pyarrow is used where it is installed, and not needed."""
    import polars as pl

    def column(values: Any) -> pl.Series:
        if values.dtype.kind in "biuf" and not hasattr(values.dtype, "na_value"):
            return pl.Series(values.to_numpy(), nan_to_null=True)
        zone = getattr(values.dtype, "tz", None)
        if values.dtype.kind == "M":
            naive = values.dt.tz_convert("UTC").dt.tz_localize(None) if zone else values
            moments = pl.Series(naive.to_numpy().astype("datetime64[us]"))
            return moments.dt.replace_time_zone("UTC").dt.convert_time_zone(str(zone)) if zone else moments
        return pl.Series([None if missing else value for value, missing in zip(values, values.isna(), strict=True)])

    repeated = table.columns[table.columns.duplicated()]
    if len(repeated):
        raise DataError(f"You gave a DataFrame with more than one column {repeated[0]!r}: give each a name of its own.")
    return pl.DataFrame({str(name): column(table.iloc[:, i]) for i, name in enumerate(table.columns)})


def _ending(path: Path) -> str:
    name = path.name.lower()
    for ending in ENDINGS:
        if name.endswith(ending):
            return ending
    raise DataError(
        f"You gave {path}, whose ending {path.suffix or '(none)'} says nothing about how to read it: "
        f"weigh reads {', '.join(ENDINGS)}. Convert it, or pass a polars LazyFrame in its place."
    )


def _must_exist(path: Path) -> None:
    if path.is_dir():
        raise DataError(f'You gave {path}, a folder: pass polars.scan_parquet("{path}/*.parquet") in its place.')
    if not path.exists():
        names = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        near = get_close_matches(path.name, names, n=1, cutoff=0.6)
        hint = f"did you mean {path.parent / near[0]}?" if near else f"you are in {Path.cwd()}; check the path."
        raise DataError(f"You gave {path}, but there is no such file: {hint}")
    if path.stat().st_size == 0:
        raise DataError(f"You gave {path}, which holds nothing (0 bytes): write it again, with at least a header.")


def _ends(path: Path) -> tuple[bytes, bytes]:
    with path.open("rb") as file:
        head = file.read(HEAD)
        file.seek(max(0, path.stat().st_size - 4))
        return head, file.read(4)


def _not_what_it_says(path: Path, claimed: str, head: bytes) -> DataError:
    found = next((name for signature, name in SIGNATURES.items() if head.startswith(signature)), "something else")
    return DataError(
        f"You gave {path} as {claimed}, but its first bytes say that it is {found}: "
        "rename it to what it is, or convert it to Parquet."
    )


def _open_csv(path: Path, ending: str, missing: Sequence[str]) -> pl.LazyFrame:
    import polars as pl

    head = _ends(path)[0]
    if ending == ".csv.gz":
        if not head.startswith(b"\x1f\x8b"):
            raise _not_what_it_says(path, "gzip", head)
        with gzip.open(path) as file:
            head = file.read(HEAD)
    if b"\0" in head or any(head.startswith(signature) for signature in SIGNATURES):
        raise _not_what_it_says(path, "CSV", head)
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError as error:
        raise DataError(
            f"You gave {path}, whose byte {error.start} is not UTF-8: save it again as UTF-8 "
            f"(iconv -f latin1 -t utf-8 {path.name} > utf8.csv)."
        ) from error
    need_header(path, text)
    need_even(path, head)
    frame = pl.scan_csv(path, glob=False, null_values=list(missing), try_parse_dates=True, infer_schema_length=10_000)
    frame.collect_schema()
    return frame


def _open_arrow(path: Path) -> pl.LazyFrame:
    import polars as pl

    head = _ends(path)[0]
    if head.startswith(b"\xff\xff\xff\xff"):
        return pl.read_ipc_stream(path).lazy()
    if not head.startswith(b"ARROW1"):
        raise _not_what_it_says(path, "Arrow IPC", head)
    frame = pl.scan_ipc(path, glob=False)
    frame.collect_schema()
    return frame
