"""Contracts: what they find, what they say, that batches do not matter, and that memory does not grow."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from weigh.data import Column, Contract, DataError

CONTRACT = Contract(
    name="trips",
    key=("id",),
    time="at",
    columns={
        "id": Column(type="integer"),
        "at": Column(type="datetime", min=datetime(2013, 1, 1)),
        "miles": Column(type="number", unit="miles", min=0, max=100, nullable=True, max_missing=0.25),
        "kind": Column(type="string", allowed=("bus", "train")),
    },
)
GOOD = pl.DataFrame(
    {
        "id": [1, 2, 3, 4],
        "at": [datetime(2013, 1, day) for day in (1, 2, 2, 4)],
        "miles": [0.0, 100.0, float("nan"), 5.0],
        "kind": ["bus", "train", "bus", "bus"],
    }
)
BROKEN = {
    "miles/min": (GOOD.with_columns(miles=pl.Series([1.0, -2.0, 3.0, -4.0])), (1, 3), (-2.0, -4.0)),
    "miles/max": (GOOD.with_columns(miles=pl.Series([1.0, 100.5, None, 4.0])), (1,), (100.5,)),
    "miles/finite": (GOOD.with_columns(miles=pl.Series([1.0, 2.0, 3.0, float("-inf")])), (3,), (float("-inf"),)),
    "miles/share": (GOOD.with_columns(miles=pl.Series([1.0, None, None, 4.0])), (1, 2), (None, None)),
    "kind/allowed": (GOOD.with_columns(kind=pl.Series(["bus", "tram", "bus", "bus"])), (1,), ("tram",)),
    "kind/nullable": (GOOD.with_columns(kind=pl.Series(["bus", None, "bus", "bus"])), (1,), (None,)),
    "at/min": (GOOD.with_columns(pl.col("at") - pl.duration(days=1)), (0,), (datetime(2012, 12, 31),)),
    "at/sorted": (GOOD.with_columns(at=GOOD["at"].gather([0, 3, 1, 2])), (2,), (datetime(2013, 1, 2),)),
    "id/key": (GOOD.with_columns(id=pl.Series([1, 2, 1, 2])), (2, 3), (1, 2)),
    "id/type": (GOOD.with_columns(id=pl.Series([1.0, 2.0, 3.0, 4.0])), (0, 1, 2, 3), (1.0, 2.0, 3.0, 4.0)),
    "miles/type": (GOOD.with_columns(miles=pl.Series(["1", "far", "3", None])), (1,), ("far",)),
}


def test_a_kept_contract():
    report = CONTRACT.check(GOOD.with_columns(more=1))
    assert report.ok and str(report) == "trips: keeps its contract in all 4 rows"
    report.raise_for_violations()


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_each_violation_names_rows_and_values(broken, batch):
    frame, rows, values = BROKEN[broken]
    report = CONTRACT.check(frame.lazy(), batch=batch)
    column, check = broken.split("/")
    found = [violation for violation in report if (violation.column, violation.check) == (column, check)]
    assert len(found) == 1 and found[0].rows == rows and found[0].values == values
    assert found[0].count == len(rows) and f"row{'s' if len(rows) > 1 else ''} {rows[0]}" in str(found[0])
    assert len(report.violations) == 1


def test_the_report_reads_well_and_raises():
    report = CONTRACT.check(BROKEN["miles/min"][0])
    assert str(report) == (
        "trips: 1 violation in 4 rows\n- miles: expected at least 0 miles, found -2.0, -4.0 in rows 1, 3 (2 of 4 rows)"
    )
    with pytest.raises(DataError, match="at least 0 miles"):
        report.raise_for_violations()


def test_columns_that_lack_or_are_too_many():
    report = CONTRACT.model_copy(update={"extra": False}).check(GOOD.rename({"miles": "mile"}))
    assert [violation.check for violation in report] == ["missing", "extra"]
    assert "is it 'mile'?" in str(report) and "found one of type Float64" in str(report)


def test_an_empty_table_breaks_every_contract():
    assert "at least one row, found none" in str(CONTRACT.check(GOOD.clear()))


def test_sort_forgives_disorder_and_mends_it():
    contract = CONTRACT.model_copy(update={"sort": True})
    assert contract.check(GOOD.reverse()).ok
    assert contract.ordered(GOOD.reverse()).collect()["at"].is_sorted()
    assert CONTRACT.ordered(GOOD.reverse()).collect().equals(GOOD.reverse())


def test_bounds_with_and_without_time_zone():
    zoned = GOOD.with_columns(pl.col("at").dt.replace_time_zone("UTC"))
    assert CONTRACT.check(zoned).ok
    aware = CONTRACT.model_copy(
        update={"columns": {**CONTRACT.columns, "at": Column(type="datetime", min=datetime(2013, 1, 2, tzinfo=UTC))}}
    )
    assert aware.check(GOOD).violations[0].rows == aware.check(zoned).violations[0].rows == (0,)


def test_categories_as_values_and_keys():
    contract = Contract(name="c", key=("k",), columns={"k": Column(type="string", allowed=("a", "b"))})
    assert contract.check(GOOD.select(k=pl.Series(["a", "b", "a", "c"], dtype=pl.Categorical))).violations[1].rows == (
        2,
    )


RICH = Contract(
    name="all",
    sort=True,
    extra=False,
    time="d",
    description="d",
    columns={
        "d": Column(type="date", min=date(2013, 1, 1), max=date(2014, 1, 1)),
        "t": Column(type="datetime", max=datetime(2014, 1, 1, tzinfo=UTC)),
        "span": Column(type="duration", min=timedelta(minutes=5), nullable=True, max_missing=0.5),
        "n": Column(type="integer", min=1, max=3, allowed=(1, 2, 3)),
        "x": Column(type="number", min=0.5),
    },
)


@pytest.mark.parametrize("contract", [CONTRACT, RICH])
@pytest.mark.parametrize("ending", [".json", ".yaml"])
def test_round_trip(tmp_path, contract, ending):
    assert Contract.from_json(contract.to_json()) == contract == Contract.from_yaml(contract.to_yaml())
    contract.save(tmp_path / f"c{ending}")
    assert Contract.load(tmp_path / f"c{ending}") == contract


def test_a_contract_by_hand():
    text = "name: t\ncolumns:\n  day: {type: date, min: 2013-01-01}\n  n: {type: integer, allowed: [1, 2]}\ntime: day\n"
    assert Contract.from_yaml(text).columns["day"].min == date(2013, 1, 1)


@pytest.mark.parametrize(
    "column, says",
    [
        ({"type": "string", "min": 1}, "allowed"),
        ({"type": "integer", "min": 3, "max": 1}, "swap"),
        ({"type": "number", "min": date(2013, 1, 1)}, "give a float"),
        ({"type": "number", "minimum": 1}, "minimum"),
        ({"type": "number", "max_missing": 2}, "less than or equal to 1"),
    ],
)
def test_contracts_that_cannot_be(column, says):
    with pytest.raises(ValidationError, match=says):
        Column(**column)


def test_contract_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        Contract.load(tmp_path / "c.yaml")
    for text in ("name: [", "name: t", "name: t\ncolumns: {}\ntime: day\n"):
        with pytest.raises(DataError, match="cannot be read"):
            Contract.from_yaml(text)


def test_infer_proposes_what_the_table_keeps():
    contract = Contract.infer(GOOD.rename({"id": "trip_id"}), name="trips")
    assert contract.key == ("trip_id",) and contract.time == "at"
    assert contract.columns["kind"].allowed == ("bus", "train")
    assert contract.columns["miles"].max_missing == 0.25 and contract.columns["miles"].max == 100
    assert contract.check(GOOD.rename({"id": "trip_id"})).ok


CELLS = {
    "id": st.one_of(st.none(), st.integers(-3, 3)),
    "x": st.one_of(st.none(), st.floats(width=32)),
    "s": st.one_of(st.none(), st.text(max_size=2)),
    "d": st.one_of(st.none(), st.dates(date(2013, 1, 1), date(2013, 1, 9))),
    "b": st.one_of(st.none(), st.booleans()),
}
TYPES = {"id": pl.Int64, "x": pl.Float64, "s": pl.String, "d": pl.Date, "b": pl.Boolean}


@settings(deadline=None, max_examples=60)
@given(rows=st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=12), size=st.integers(1, 5))
def test_infer_then_check_holds_and_batches_do_not_matter(rows, size):
    frame = pl.DataFrame(rows, schema=TYPES)
    inferred = Contract.infer(frame)
    whole = inferred.check(frame)
    assert {violation.check for violation in whole} <= {"finite"}
    assert Contract.from_json(inferred.to_json()) == inferred
    strict = Contract(
        name="strict",
        key=("id", "b"),
        time="d",
        columns={
            "id": Column(type="integer", min=-2),
            "x": Column(type="number", max=1.0),
            "s": Column(type="string", allowed=("", "a")),
            "d": Column(type="date", nullable=True),
            "b": Column(type="boolean", nullable=True, max_missing=0.3),
        },
    )
    assert str(strict.check(frame, batch=size)) == str(strict.check(frame))
