"""Reading, naming and keeping a user's table, and every way in which a file can be wrong."""

import gzip
import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weigh.data import (
    Column,
    Contract,
    DataError,
    cache_folder,
    fingerprint,
    read,
    require,
    scan,
    scan_whole,
    snapshot,
    split_by_time,
)

FRAME = pl.DataFrame(
    {
        "distance": [1400, 1416, None],
        "dest": ["IAH", "", None],
        "delay": [1.5, float("nan"), None],
        "day": [date(2013, 1, 1), None, date(2013, 1, 3)],
        "late": [True, None, False],
    }
)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(200)


def written(folder: Path, ending: str) -> Path:
    path = folder / f"table{ending}"
    if ending == ".parquet":
        FRAME.write_parquet(path)
    elif ending == ".csv":
        FRAME.write_csv(path)
    elif ending == ".csv.gz":
        path.write_bytes(gzip.compress(FRAME.write_csv().encode()))
    elif ending == ".arrow":
        FRAME.write_ipc_stream(path)
    else:
        FRAME.write_ipc(path)
    return path


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".csv.gz", ".feather", ".arrow", ".ipc"])
def test_every_ending_is_read_with_the_wanted_columns_and_rows(tmp_path, ending):
    path = written(tmp_path, ending)
    assert read(path)["distance"].to_list() == [1400, 1416, None]
    part = read(str(path), ["day", "distance"], rows=(1, 9))
    assert part.columns == ["day", "distance"] and part["day"].to_list() == [None, date(2013, 1, 3)]


def test_texts_for_missing_values_in_csv(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,y\n1,NA\nNA,b\n-,c\n")
    assert read(path, missing=["NA", "-"]).to_dict(as_series=False) == {"x": [1, None, None], "y": [None, "b", "c"]}


def test_tables_in_memory():
    assert read(FRAME).equals(FRAME) and read(FRAME.lazy()).equals(FRAME)
    assert read({"a": [1, 2]}).rows() == [(1,), (2,)]


def test_pandas_is_read_with_its_gaps_and_without_its_index():
    pandas = pytest.importorskip("pandas", reason="the pandas table of this test")
    when = pandas.to_datetime(["2013-01-01 05:15", None]).tz_localize("UTC").tz_convert("America/New_York")
    table = pandas.DataFrame(
        {
            "n": [1.5, None],
            "s": ["a", None],
            "c": pandas.Categorical(["x", "y"]),
            "i": [1, 2],
            "t": when,
            "b": [True, False],
        }
    )
    frame = read(table.assign(maybe=pandas.array([1, None], dtype="Int64")).set_index(pandas.Index([7, 9])))
    assert frame.drop("t").rows() == [(1.5, "a", "x", 1, True, 1), (None, None, "y", 2, False, None)]
    assert str(frame["t"][0]) == "2013-01-01 00:15:00-05:00" and frame["t"][1] is None
    assert frame.schema["i"] == pl.Int64


def test_pyarrow_is_read():
    pyarrow = pytest.importorskip("pyarrow", reason="the pyarrow table of this test")
    assert read(pyarrow.table({"a": [1, None]})).rows() == [(1,), (None,)]


def refusal(table, **arguments) -> str:
    with pytest.raises(DataError) as caught:
        read(table, **arguments)
    return str(caught.value)


def test_missing_file_names_the_nearest(tmp_path):
    path = written(tmp_path, ".parquet")
    assert str(path) in refusal(tmp_path / "tabel.parquet")
    assert "no such file" in refusal(tmp_path / "nowhere" / "x.csv")


def test_unknown_ending_says_what_is_read(tmp_path):
    path = tmp_path / "a.xlsx"
    path.write_bytes(b"PK\x03\x04")
    assert ".csv.gz" in refusal(path) and "LazyFrame" in refusal(path)


def test_folder_says_what_to_type(tmp_path):
    folder = tmp_path / "parts.parquet"
    folder.mkdir()
    assert "scan_parquet" in refusal(folder)


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".csv.gz", ".feather", ".arrow"])
def test_a_picture_is_not_a_table(tmp_path, ending):
    path = tmp_path / f"picture{ending}"
    path.write_bytes(PNG)
    assert "PNG image" in refusal(path)


def test_truncated_and_corrupt_files(tmp_path):
    for ending, says in ((".parquet", "cut off"), (".feather", "cannot be read"), (".csv.gz", "again")):
        path = written(tmp_path, ending)
        path.write_bytes(path.read_bytes()[:-20])
        assert says in refusal(path)
    path = written(tmp_path, ".parquet")
    data = bytearray(path.read_bytes())
    data[10:60] = bytes(50)
    path.write_bytes(data)
    assert "breaks off" in refusal(path) and "CSV" not in refusal(path)


def test_other_csv_trouble(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"")
    assert "0 bytes" in refusal(path)
    path.write_bytes("name\nJosé\n".encode("latin1"))
    assert "not UTF-8" in refusal(path) and "iconv" in refusal(path)
    path.write_bytes("a,b\n1,2\n".encode("utf-16"))
    assert "UTF-16" in refusal(path)
    path.write_text("a\n" + "1\n" * 20_000 + "x\n")
    assert "infer_schema_length=None" in refusal(path)


def test_what_is_no_table():
    assert "no table" in refusal(3)
    assert "same number of rows" in refusal({"a": [1, 2], "b": [1, 2, 3]})


def test_missing_column_names_the_nearest():
    assert "did you mean 'distance'?" in refusal(FRAME, columns=["distanse"])
    assert "it has 'distance', 'dest'" in refusal(FRAME, columns=["zzz"])
    assert "rows=(3, 1)" in refusal(FRAME, rows=(3, 1))


def test_fingerprint_of_a_file_is_that_of_its_bytes(tmp_path):
    import hashlib

    path = written(tmp_path, ".csv")
    assert fingerprint(path) == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(DataError, match="no such file"):
        fingerprint(tmp_path / "none.csv")


def test_fingerprint_of_content_survives_formats_chunks_and_libraries(tmp_path):
    name = fingerprint(FRAME)
    assert len(name) == 71 and fingerprint(FRAME) == name
    assert fingerprint(pl.concat([FRAME[:1], FRAME[1:]], rechunk=False)) == name
    assert fingerprint(FRAME.select(reversed(FRAME.columns))) == name
    assert fingerprint(FRAME.with_columns(pl.col("dest").cast(pl.Categorical))) == name
    for ending in (".parquet", ".feather", ".arrow"):
        assert fingerprint(written(tmp_path, ending), FRAME.columns) == name


CHANGES = {
    "value": FRAME.with_columns(distance=pl.Series([1400, 1417, None])),
    "null becomes 0": FRAME.with_columns(pl.col("distance").fill_null(0)),
    "null becomes empty": FRAME.with_columns(pl.col("dest").fill_null("")),
    "NaN becomes null": FRAME.with_columns(pl.col("delay").fill_nan(None)),
    "text moves between rows": FRAME.with_columns(dest=pl.Series(["IA", "H", None])),
    "type": FRAME.with_columns(pl.col("distance").cast(pl.Int32)),
    "name": FRAME.rename({"dest": "to"}),
    "row order": FRAME.reverse(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_fingerprint_tells_what_changed(change):
    assert fingerprint(CHANGES[change]) != fingerprint(FRAME)


def test_fingerprint_of_nested_columns():
    nested = pl.DataFrame({"a": [[1, 2], None], "b": [{"x": 1}, {"x": None}], "c": [b"\x00", None]})
    assert fingerprint(nested) == fingerprint(nested.clone()) != fingerprint(nested.reverse())


@settings(deadline=None, max_examples=25)
@given(st.lists(st.one_of(st.none(), st.text(max_size=4)), min_size=1, max_size=12), st.integers(1, 12))
def test_fingerprint_does_not_depend_on_batches(texts, size):
    from weigh.data._digest import digest

    frame = pl.DataFrame({"a": pl.Series(texts, dtype=pl.String)}).lazy()
    assert digest(frame, size) == digest(frame)


def test_snapshot_is_named_by_content_and_whole(tmp_path):
    kept = snapshot(FRAME, tmp_path / "new")
    assert kept == snapshot(FRAME.lazy(), tmp_path / "new") and kept.stem == fingerprint(FRAME).replace(":", "-")
    assert read(kept).equals(FRAME)
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_snapshot_that_fails_leaves_nothing(tmp_path):
    broken = FRAME.lazy().select(pl.col("dest").cast(pl.Int64, strict=True))
    with pytest.raises(DataError, match="breaks off"):
        snapshot(broken, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("WEIGH_CACHE", raising=False)
    assert cache_folder() == tmp_path / "weigh"
    monkeypatch.setenv("WEIGH_CACHE", "/elsewhere")
    assert cache_folder() == Path("/elsewhere")
    monkeypatch.delenv("WEIGH_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert "weigh" in str(cache_folder())


def test_split_by_time_reads_moments_as_utc():
    times = pl.DataFrame({"t": ["2013-02-28T23:00:00", "2013-03-01T00:00:00"]}).with_columns(
        pl.col("t").str.to_datetime()
    )
    for until in ("2013-03-01", date(2013, 3, 1), "2013-02-28T19:00:00-05:00"):
        before, rest = split_by_time(times, "t", until)
        assert before.collect().height == rest.collect().height == 1
    with pytest.raises(DataError, match="ISO 8601"):
        split_by_time(times, "t", "March")
    with pytest.raises(DataError, match="as a time"):
        split_by_time({"t": ["2013-01-01"]}, "t", "2013-03-01")


def test_import_loads_nothing_heavy():
    code = "import sys, weigh.data, weigh.data.flights; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"polars", "numpy", "pandas", "sklearn", "yaml"} & set(loaded)


def test_scan_is_lazy(tmp_path):
    assert isinstance(scan(written(tmp_path, ".parquet"), ["dest"]), pl.LazyFrame)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b,c\n1,2,3\n4,5\n6,7,8\n", "line 3 (row 1) has 2 values where the header names 3 columns"),
        ("a,b\r\n1,2\r\n3,4,5\r\n", "line 3 (row 1) has 3 values where the header names 2 columns"),
        ("a,b\n1,2\n\n3,4\n", "line 3 (row 1) has 1 value, or none,"),
        ('a,b\n"x, y",2\n"z\n, w",3,4\n', "line 3 (row 1) has 3 values"),
        ('a,b\n1,2\n3,"4\n5,6\n', "line 3 opens a quote that is never closed"),
        ("a,b,a\n1,2,3\n", "names 'a' 2 times (columns 1, 3)"),
    ],
)
@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_a_csv_file_whose_lines_do_not_fit_its_header_is_refused(tmp_path, text, says, ending):
    path = tmp_path / f"table{ending}"
    path.write_bytes(gzip.compress(text.encode()) if ending == ".csv.gz" else text.encode())
    for use in (read, require, Contract(name="any", columns={"a": Column(type="any")}).check):
        with pytest.raises(DataError) as caught:
            use(path)
        assert says in str(caught.value) and str(path) in str(caught.value)


def test_a_lazy_view_looks_at_the_first_lines(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n3\n")
    with pytest.raises(DataError, match=r"line 3 \(row 1\) has 1 value"):
        scan(path)
    path.write_text("a,b\n" + "1,2\n" * 50_000 + "3\n")
    assert scan(path).collect_schema().names() == ["a", "b"]
    with pytest.raises(DataError, match=r"line 50002 \(row 50000\)"):
        scan_whole(path)
    path.write_text('a,b\n"' + "long\n" * 50_000 + '",2\n')
    assert scan_whole(path).collect().height == 1


def test_quotes_and_gaps_are_no_fault_of_a_csv_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('\ufeffa,b\n"x, ""y""",2\n"z\n",3\n,\nlast,4')
    assert read(path).rows() == [('x, "y"', 2), ("z\n", 3), (None, None), ("last", 4)]
    path.write_text("a\n1\n\n3\n")
    assert read(path)["a"].to_list() == [1, None, 3]


def test_a_table_without_columns_and_one_with_two_of_a_name():
    for use in (lambda: scan({}, ["a"]), lambda: require({})):
        with pytest.raises(DataError, match="without columns"):
            use()
    pandas = pytest.importorskip("pandas", reason="the pandas table of this test")
    with pytest.raises(DataError, match="more than one column 'a'"):
        read(pandas.DataFrame([[1, 2]], columns=["a", "a"]))
